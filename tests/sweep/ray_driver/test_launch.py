"""Launches on real Ray with a tiny real model: quiet, closed to the network, and nothing lost by a kill."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from launches import LONG, PATIENCE_S, is_training, ray_processes, same_result, steps_of, wait
from small_sweep import output, start, states, title
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from waiting import assert_stays, wait_until

from sweep.environment.lease import acquire
from trainables.records.atomic_files import read_json, write_json
from trainables.records.record import SweepFolder

SHORT = [{"max_steps": 0}, {"max_steps": 8, "learning_rate": 5e-3}, {"max_steps": 8, "learning_rate": 2e-3}]
FOREVER = [{"max_steps": 0}, {"max_steps": 100_000, "learning_rate": 5e-3, "eval_every_steps": 50}]


def engine_of(driver: psutil.Process) -> psutil.Process | None:
    return next((one for one in ray_processes(driver) if title(one).startswith("ray::EngineHost")), None)


def libraries(process: psutil.Process) -> set[str]:
    """Return the compiled libraries that a process has loaded."""
    try:
        return {Path(one.path).name for one in process.memory_maps()}
    except psutil.Error:
        return set()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One launch of two trials and a baseline, watched while it runs, from a folder with an `analysis` of its own."""
    out = tmp_path_factory.mktemp("whole") / "run"
    (out.parent / "analysis.py").write_text("raise RuntimeError('the wrong analysis')")
    process = start(out, SHORT)
    driver = psutil.Process(process.pid)
    seen: dict[str, Any] = {"out": out, "addresses": set(), "trial_libraries": set(), "engine_libraries": set()}
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        for one in [driver, *ray_processes(driver)]:
            try:
                connections = one.net_connections(kind="inet")
            except psutil.Error:
                continue
            seen["addresses"] |= {item.laddr.ip for item in connections if item.status == psutil.CONN_LISTEN}
            if title(one).startswith("ray::ImplicitFunc"):
                seen["trial_libraries"] |= libraries(one)
            elif title(one).startswith("ray::EngineHost"):
                seen["engine_libraries"] |= libraries(one)
        time.sleep(0.5)
    seen["code"] = process.wait(timeout=10)
    return seen


def test_a_launch_finishes_every_trial(whole: dict[str, Any]) -> None:
    assert whole["code"] == 0, output(whole["out"])
    assert states(whole["out"]) == {"zero-shot": "done", "B": "done", "C": "done"}
    records = SweepFolder(whole["out"]).records()
    assert all(len(record.evaluation_ids()) == 1 for record in records)
    assert [steps_of(whole["out"], number)[-1:] for number in range(3)] == [[], [8], [8]]


def test_a_launch_says_what_happens_and_nothing_of_ray(whole: dict[str, Any]) -> None:
    # What trials wait for is said every few seconds: how often depends on the machine.
    lines = [line for line in output(whole["out"]).splitlines() if not line.startswith("  ")]
    assert lines[0].startswith("3 trials on CPU (")
    assert lines[0].endswith("engine packed")
    assert [line for line in lines if "step 4/8" in line and line.startswith("B-lr0.005")] != []
    assert lines[-2].startswith("2 trials at a time, 2.0 on average; the model was ready after ")
    assert lines[-1] == "finished ()"
    assert len(lines) == 1 + 2 * 2 + 3 + 2, output(whole["out"])


def test_all_sockets_listen_on_the_loopback_interface(whole: dict[str, Any]) -> None:
    assert whole["addresses"]
    assert whole["addresses"] <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def test_nothing_of_ray_is_written_to_the_home_folder(whole: dict[str, Any]) -> None:
    assert not (whole["out"].parent / "home" / ".ray").exists()


def test_a_trial_loads_no_model_library(whole: dict[str, Any]) -> None:
    heavy = ("torch", "tokenizers", "safetensors")
    assert any("torch" in name for name in whole["engine_libraries"])
    assert whole["trial_libraries"]
    assert [name for name in whole["trial_libraries"] if any(word in name.lower() for word in heavy)] == []


def test_curves_of_every_trial_are_written(whole: dict[str, Any]) -> None:
    for folder in sorted((whole["out"] / "tensorboard").iterdir())[1:]:
        read = EventAccumulator(str(folder))
        read.Reload()
        assert [event.step for event in read.Scalars("loss/validation")] == [4, 8]
        assert "final/test/rougeL" in read.Tags()["scalars"]


@pytest.mark.slow
def test_a_launch_with_nothing_left_to_do_starts_nothing(whole: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole["out"], out)
    nowhere = "127.0.0.1:1"  # so that whatever were started would fail
    assert start(out, SHORT, address=nowhere).wait(timeout=PATIENCE_S) == 0, output(out)
    assert output(out).splitlines()[-1] == "finished ()"


def test_the_lease_is_free_and_no_process_is_left(whole: dict[str, Any]) -> None:
    acquire(whole["out"]).release()
    mine = str(whole["out"])
    assert [title(one) for one in psutil.process_iter() if mine in title(one)] == []


# --- what takes longer ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_engine_comes_back_and_the_trial_continues(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, LONG)
    driver = psutil.Process(process.pid)
    wait(lambda: is_training(out), process, out)
    engine = engine_of(driver)
    assert engine is not None
    engine.kill()
    assert process.wait(timeout=PATIENCE_S) == 0, output(out)
    assert states(out) == {"zero-shot": "done", "B": "done"}
    same_result(out, uninterrupted)
    result = SweepFolder(out).records()[1].result()
    assert result is not None
    assert result.restarts == 1
    said = [line for line in output(out).splitlines() if line.startswith("an engine's process died ")]
    assert len(said) == 1, output(out)
    assert said[0].endswith("; a new one continues its trials from their checkpoints")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_driver_takes_its_engine_along_and_the_next_one_continues(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, LONG)
    driver = psutil.Process(process.pid)
    wait(lambda: is_training(out), process, out)
    below = [one for one in ray_processes(driver) if "Agent" not in title(one)]
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(below, timeout=5)
    assert alive == []
    steps = steps_of(out, 1)
    assert_stays(lambda: steps_of(out, 1) == steps, 2, look_s=0.1)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/result.json")}
    assert start(out, LONG).wait(timeout=PATIENCE_S) == 0, output(out)
    same_result(out, uninterrupted)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("number", "to_group"),
    [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)],
    ids=["ctrl-c", "terminate", "hang-up"],
)
def test_a_signal_checkpoints_and_leaves_within_ten_seconds(tmp_path: Path, number: int, to_group: bool) -> None:
    out = tmp_path / "run"
    process = start(out, FOREVER)
    driver = psutil.Process(process.pid)
    wait(lambda: is_training(out), process, out)
    below = ray_processes(driver)
    began = time.monotonic()
    os.killpg(process.pid, number) if to_group else process.send_signal(number)
    assert process.wait(timeout=20) == 128 + number, output(out)
    assert time.monotonic() - began < 10
    _, alive = psutil.wait_procs(below, timeout=1)
    assert alive == []
    assert output(out).splitlines()[-2].endswith("python -m sweep.run again --out run")  # however this Python is typed
    record = SweepFolder(out).records()[1]
    assert record.result() is None
    last = sorted(path.name for path in record.checkpoint_folder.iterdir())[-1]
    assert int(last.split("-")[1]) == steps_of(out, 1)[-1]
    acquire(out).release()
    assert "Traceback" not in output(out)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_signal_while_ray_starts_leaves_as_well(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, SHORT)
    wait(lambda: ray_processes(psutil.Process(process.pid)), process, out)
    below = ray_processes(psutil.Process(process.pid))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=12) == 130, output(out)
    _, alive = psutil.wait_procs(below, timeout=2)
    assert alive == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, FOREVER)
    wait(lambda: is_training(out), process, out)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=5) == 130
    assert time.monotonic() - began < 3


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_time_budget_ends_a_launch_in_good_order(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, FOREVER, time_budget_s=45.0)
    assert process.wait(timeout=PATIENCE_S) == 0
    lines = output(out).splitlines()
    assert lines[-3].startswith("time budget reached: ")
    assert lines[-1].startswith("budget (")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("engine", ["solo", "packed"])
def test_asha_stops_bad_trials_at_its_rungs_and_never_a_baseline(tmp_path: Path, engine: str) -> None:
    out = tmp_path / "run"
    rates = (5e-3, 2e-3, 1e-5, 1e-6)
    trials = [{"max_steps": 0}, *({"max_steps": 16, "eval_every_steps": 2, "learning_rate": rate} for rate in rates)]
    assert start(out, trials, scheduler="asha", engine=engine).wait(timeout=PATIENCE_S) == 0, output(out)
    records = SweepFolder(out).records()
    assert (states(out)["zero-shot"], states(out)["B"]) == ("done", "done")
    # Rungs at steps 2 and 6; one after the other, each of C, D and E is worse at the first than the best before it.
    # In a pack they come there at about the same time, and whoever comes first goes on.
    last = [steps_of(out, number)[-1] for number in (1, 2, 3, 4)]
    assert last[0] == 16
    assert last[1:] == [2, 2, 2] if engine == "solo" else set(last[1:]) <= {2, 6, 16}, last
    assert all(len(record.evaluation_ids()) == 1 for record in records)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trial_that_kills_its_engine_is_given_up_and_the_others_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    trials = [{"max_steps": 0}, {"max_steps": 4}, {"max_steps": 4, "learning_rate": 1e-3}]
    assert start(out, trials, engine="faulty_engines:DeadlyEngine").wait(timeout=PATIENCE_S) == 0, output(out)
    assert states(out) == {"zero-shot": "done", "B": "failed", "C": "done"}
    assert "raylet" not in output(out)
    result = SweepFolder(out).records()[1].result()
    assert result is not None
    assert result.cause == "the engine's process died 3 times while this trial ran, without coming further"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_full_disk_pauses_the_launch_with_finished_results_intact(tmp_path: Path) -> None:
    out = tmp_path / "run"
    trials = [{"max_steps": 0}, {"max_steps": 4}, {"max_steps": 4, "learning_rate": 1e-3}]
    assert start(out, trials, engine="faulty_engines:FullEngine").wait(timeout=PATIENCE_S) == 1, output(out)
    assert states(out) == {"zero-shot": "done", "B": "pending", "C": "pending"}
    assert "paused, the disk is full: 1 of 3 trials are finished; continue with" in output(out)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_driver_whose_sweep_was_taken_over_writes_nothing_more(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, FOREVER)
    wait(lambda: is_training(out), process, out)
    path = SweepFolder(out).lease_path
    write_json(path, {**read_json(path), "owner": "another", "generation": 7})

    def writes_nothing_for_a_second() -> bool:
        steps = steps_of(out, 1)
        time.sleep(1)
        return steps_of(out, 1) == steps

    wait_until(writes_nothing_for_a_second, 3)
    steps = steps_of(out, 1)
    assert process.wait(timeout=40) == 1
    assert steps_of(out, 1) == steps
    assert "UserError" in output(out)
    assert "another run has taken" in output(out)
    assert read_json(path)["owner"] == "another"


@pytest.mark.slow
def test_an_engine_that_cannot_start_is_one_sentence_and_its_traceback_a_file(tmp_path: Path) -> None:
    out = tmp_path / "run"
    start(out, LONG, engine="faulty_engines:UnbuildableEngine").wait(timeout=PATIENCE_S)
    path = out / "engine-error.txt"
    assert output(out).splitlines()[-1] == (
        "trainables.errors.UserError: the engine could not start: RuntimeError: the library "
        f"(the whole of it is in {path})"
    )
    assert "Traceback (most recent call last)" in path.read_text()
    assert "is too old" in path.read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_trial_process_does_not_end_its_trial(tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = start(out, LONG)
    driver = psutil.Process(process.pid)

    def followers() -> list[psutil.Process]:
        return [one for one in ray_processes(driver) if title(one).startswith("ray::ImplicitFunc.train")]

    def are_all_followed() -> bool:  # an engine trains before the process comes that follows it
        ended = sum(record.result() is not None for record in SweepFolder(out).records())
        return is_training(out) and len(followers()) + ended >= 2

    wait(are_all_followed, process, out)
    for one in followers():
        one.kill()
    assert process.wait(timeout=PATIENCE_S) == 0, output(out)
    assert states(out) == {"zero-shot": "done", "B": "done"}
    assert "Traceback" not in output(out)
    assert output(out).count("B-lr0.005: the process that follows it died; a new one does") == 1
