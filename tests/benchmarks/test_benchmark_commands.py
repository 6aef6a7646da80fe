"""The commands as a user types them: real runs in little, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.systems import Plan, measure, plan_for
from benchmarks.timeline import losses
from benchmarks.work import make_work

ROOT = Path(__file__).resolve().parents[2]


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def object_of(name: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command on the bundled model and return what it prints for a program."""
    device = () if name == "decision" else ("--device", "cpu")
    done = run(name, *arguments, "--json", *device, "--results", str(folder / "RESULTS.md"))
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"python -m benchmarks.{name}" in (folder / "RESULTS.md").read_text(encoding="utf-8")
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("makespan", "--trials", "3"), "--trials must be one of 1, 2, 4, 8, got 3"),
        (("makespan", "--steps", "6"), "--steps must be a multiple of 4"),
        (("makespan", "--systems", "a,z"), "--systems 'z' is unknown"),
        (("makespan", "--peer-steps", "4"), "from 8, got 4"),
        (("makespan", "--at-a-time", "one"), "--at-a-time must be numbers"),
        (("makespan", "--card", "t5"), "--card 't5' is unknown"),
        (("makespan", "--card", "t4", "--device", "cpu"), "--card t4 needs a GPU"),
        (("roofline", "--size", "phi2", "--device", "cpu"), "--size phi2 needs a GPU"),
        (("roofline", "--precision", "fp8"), "--precision 'fp8' is unknown"),
        (("scaling", "--trials", "two"), "--trials must be numbers such as 1,2"),
        (("decision", "--systems", "a,e"), "--systems 'e' is unknown"),
        (("decision", "--size", "phi2"), "--size must be pocket or gpt2, got 'phi2'"),
        (("settling", "--turns", "nowhere"), "--turns must be a folder with val.json and test.json"),
        (("settling", "--sweeps", "0"), "--sweeps must be at least 1, got 0"),
        (("study", "--samplers", "tpe,grid"), "--samplers 'grid' is unknown"),
        (("light", "--repeats", "0"), "--repeats must be at least 1, got 0"),
        (("light", "--sweep", "nowhere"), "--sweep must be a sweep's folder, got 'nowhere'"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_exit_2(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_runs_before_torch_is_timed_and_loads_nothing_heavy(tmp_path: Path) -> None:
    done = run("light", "--repeats", "1", "--json", "--results", str(tmp_path / "RESULTS.md"))
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout)["rows"]
    assert len(rows) == 4
    assert all(row["median_s"] > 0 and row["heavy"] == [] for row in rows.values())


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_makespan_compares_peers_whose_losses_agree(tmp_path: Path) -> None:
    little = ("--trials", "2", "--steps", "4", "--precision", "fp32", "--at-a-time", "1")
    folders = ("--out", str(tmp_path / "raw"))
    alone = object_of("makespan", tmp_path, *little, *folders, "--systems", "b")
    assert alone["speedup"] == {}
    assert alone["losses_agree"] is None
    kept = json.loads((tmp_path / "raw" / "pocket" / "b-fp32-1.json").read_text(encoding="utf-8"))

    found = object_of("makespan", tmp_path, *little, *folders, "--systems", "a,b,c,d", "--reuse")
    again = json.loads((tmp_path / "raw" / "pocket" / "b-fp32-1.json").read_text(encoding="utf-8"))
    assert kept == again
    assert found["losses_agree"] is True
    assert found["speedup"].keys() == {"a", "b", "c"}
    for system in "abcd":
        row = found["by_precision"]["fp32"]["systems"][system]
        assert row["measured"]
        assert 0 < row["first_comparison_s"] <= row["wall_s"]
        assert (row["after_load_s"] is None) if system == "a" else 0 < row["after_load_s"] < row["wall_s"]
        assert row["peak_bytes"] > 10**8
    for system in "ef":
        assert not found["by_precision"]["fp32"]["systems"][system]["measured"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_peers_for_gpus_run_and_agree(tmp_path: Path) -> None:
    work = make_work("pocket", "fp32", trials=2, steps=4)
    alone, *others = (losses_of(plan_for(one, work, "cpu"), tmp_path) for one in "bef")
    assert alone.keys() == {(0, 4), (1, 4)}
    for other in others:
        assert other == {key: pytest.approx(loss, rel=1e-4) for key, loss in alone.items()}


def losses_of(plan: Plan, folder: Path) -> dict[tuple[int, int], float]:
    found = measure(plan, folder / f"{plan.key}.json")
    assert found["code"] == 0, (folder / f"{plan.key}.log").read_text(encoding="utf-8")[-3000:]
    return losses(found["marks"])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_decision_is_made_judged_and_kept(tmp_path: Path) -> None:
    little = ("--quick", "--systems", "b", "--seeds", "1", "--out", str(tmp_path / "raw"))
    found = object_of("decision", tmp_path, *little)
    (made,) = found["decisions"]
    assert len(found["truth"]) == 4
    assert found["systems"]["b"]["regret"] == max(found["truth"].values()) - found["truth"][made["chosen"]]
    assert made["tokens"] > 0
    assert made["texts"] % 8 == 0
    assert 0 < made["cpu_s"] < 3 * made["wall_s"]
    assert object_of("decision", tmp_path, *little, "--kept")["decisions"] == [made]


@pytest.mark.slow
def test_roofline_tells_both_fractions_and_where_the_rest_goes(tmp_path: Path) -> None:
    found = object_of("roofline", tmp_path, "--precision", "fp32", "--trials", "2", "--steps", "2")
    assert 0 < found["train_fraction_of_gemm"] < 1
    assert 0 < found["decode_fraction_of_bandwidth"] < 2
    shares = found["by_precision"]["fp32"]["breakdown"]
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["products: base"] > shares["products: adapters"] > 0


@pytest.mark.slow
def test_scaling_measures_each_number_of_trials(tmp_path: Path) -> None:
    found = object_of("scaling", tmp_path, "--trials", "9", "--steps", "4", "--out", str(tmp_path / "raw"))
    assert [row["trials"] for row in found["rows"]] == [9]
    assert all(row["wall_s_per_trial"] > 0 and row["peak_bytes"] > 10**8 for row in found["rows"])
