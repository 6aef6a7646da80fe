"""Several sweeps side by side: what stands there, and what is refused with its reason."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats as scipy_stats
from sweeps_on_disk import SMALL, baseline, configuration

from analysis.findings.across_sweeps import across, frame
from trainables.config import DECODINGS, EvalConfig, eval_id
from trainables.errors import UserError
from trainables.records.record import SweepFolder

Make = Callable[..., Path]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "analysis.compare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def two(make_sweep: Make) -> tuple[Path, Path]:
    good = [baseline(), configuration("A", quality=0.5), configuration("B", rank=16, quality=0.9)]
    return make_sweep([baseline(), configuration("A", quality=0.4)]), make_sweep(good)


def rewrite(folder: Path, name: str, change: Callable[[dict], None]) -> None:
    """Change every prediction of a trial, and commit the evaluation anew."""
    for record in SweepFolder(folder).records():
        if record.config()["name"] == name:
            summary = record.summary(eval_id(SMALL))
            assert summary
            lines = {split: record.predictions(eval_id(SMALL), split) for split in SMALL.examples}
            for rows in lines.values():
                for row in rows:
                    change(row)
            record.write_evaluation(SMALL, lines, summary)


def test_the_best_of_all_is_compared_with_the_best_of_each_in_pairs(two: tuple[Path, Path]) -> None:
    found = across(two)
    assert found.runs == tuple(folder.name for folder in two)
    first = next(entry for entry in found.entries if entry.kind == "configuration")
    assert (first.run, first.name) == (two[1].name, "B")
    assert len(found.entries) == 5
    one = found.differences[0]
    scores = []
    for folder, name in ((two[1], "B"), (two[0], "A")):
        record = next(one for one in SweepFolder(folder).records() if one.config()["name"] == name)
        scores.append([row["scores"]["rougeL"] for row in record.predictions(eval_id(SMALL), "test")])
    interval = scipy_stats.ttest_rel(*scores).confidence_interval()
    assert (one.run, one.name, one.n) == (two[0].name, "A", 20)
    assert (one.low, one.high) == pytest.approx((interval.low, interval.high))
    assert found.sentences[0].startswith(f"Best of all: B of {two[1].name} (")
    assert frame(found)["rougeL"].tolist() == [entry.scores["rougeL"] for entry in found.entries]


@pytest.mark.slow
def test_json_alone_is_printed_on_request(two: tuple[Path, Path]) -> None:
    assert json.loads(run(*two, "--json").stdout)["differences"][0]["name"] == "A"


@pytest.mark.slow
def test_the_command_prints_one_table(two: tuple[Path, Path]) -> None:
    done = run(*two)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Best of all: B of" in done.stdout
    assert two[0].name in done.stdout


def test_one_sweep_or_the_same_twice_is_refused(two: tuple[Path, Path]) -> None:
    for given in ([two[0]], [two[0], two[0]], [two[0], two[1], two[0]]):
        with pytest.raises(UserError, match="two or more different sweeps"):
            across(given)


def test_folders_of_one_name_are_told_apart_by_their_parents(two: tuple[Path, Path], tmp_path: Path) -> None:
    moved = []
    for parent, folder in zip(("x", "y"), two, strict=True):
        (tmp_path / parent).mkdir()
        moved.append(folder.rename(tmp_path / parent / "run"))
    assert across(moved).runs == ("x/run", "y/run")


def test_other_examples_are_refused(two: tuple[Path, Path], make_sweep: Make) -> None:
    folder = SweepFolder(two[1])
    path = folder.evaluation_examples_path("test")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[3]["references"] = ["Something else happened."]
    folder.write_examples(path, rows)
    with pytest.raises(UserError, match="1 of its 20 test examples are others"):
        across(two)
    more = EvalConfig(validation_examples=12, test_examples=30)
    with pytest.raises(UserError, match="it has 30 test examples and the other 20"):
        across([two[0], make_sweep([configuration("A")], more)])
    alone = EvalConfig(validation_examples=0, test_examples=20)
    with pytest.raises(UserError, match="cannot be compared"):
        across([two[0], make_sweep([configuration("A")], alone)])


def test_another_signature_is_refused_with_what_differs(two: tuple[Path, Path], make_sweep: Make) -> None:
    beams = SMALL.model_copy(update={"decoding": DECODINGS["beam4"]})
    with pytest.raises(UserError, match=r"made in different ways.*'greedy'.*'beam search of 4'"):
        across([two[0], make_sweep([configuration("A")], beams)])


def test_losses_over_other_tokens_are_left_out_and_refused_as_the_metric(two: tuple[Path, Path]) -> None:
    def longer(row: dict) -> None:
        row["nll_tokens"] += 3

    for name in ("zero-shot v1", "A", "B"):
        rewrite(two[1], name, longer)
    found = across(two)
    assert all(entry.scores["eval_loss"] is None for entry in found.entries)
    assert any(said.startswith("Losses are left out: the tokenizers of") for said in found.sentences)
    with pytest.raises(UserError, match="losses cannot be compared: the tokenizers of"):
        across(two, "eval_loss")


def test_the_difference_in_loss_is_that_of_the_corpora(two: tuple[Path, Path]) -> None:
    found = across(two, "eval_loss")
    losses = {(entry.run, entry.name): entry.scores["eval_loss"] for entry in found.entries}
    first, second = losses[two[1].name, "B"], losses[two[0].name, "A"]
    assert first is not None
    assert second is not None
    assert found.differences[0].difference == pytest.approx(first - second)
    assert "chosen by evaluation loss" in found.sentences[0]


def test_a_sweep_in_which_nothing_has_finished_is_named(two: tuple[Path, Path], make_sweep: Make) -> None:
    pending = make_sweep([replace(configuration("A"), state=None)])
    assert f"Nothing has finished in {pending.name}." in across([two[0], pending]).sentences


def test_a_folder_that_is_no_sweep_is_refused(two: tuple[Path, Path], tmp_path: Path) -> None:
    done = run(tmp_path, two[0])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "is no sweep" in done.stderr
