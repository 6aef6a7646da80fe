"""Stored scores that no evaluation gives stop the report, even under the right checksum."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sweeps_on_disk import SMALL, baseline, configuration

from analysis.compare import compare
from analysis.records.score_invariants import check
from analysis.report import print_table, report, write
from trainables.config import EvalConfig
from trainables.errors import UserError
from trainables.metric_table import FAMILIES
from trainables.records.record import SweepFolder
from trainables.scoring.metrics import means, score

Make = Callable[..., Path]
Lines = list[dict[str, Any]]
Change = Callable[[Lines], None]
DEFAULTS: Any = {
    "metric": None,
    "evaluation": None,
    "as_json": False,
    "by": "",
    "annotate": 0,
    "systems": "",
    "ratings": None,
}


def tampered(folder: Path, change: Change, keep_means: bool = False) -> Path:
    """Change the test predictions of A and write them again, with their checksum, and with means that fit them."""
    sweep = SweepFolder(folder)
    record = next(one for one in sweep.records() if one.config()["name"] == "A")
    identity = sweep.manifest().eval_id
    summary = record.summary(identity)
    assert summary
    lines = {split: record.predictions(identity, split) for split in SMALL.examples}
    change(lines["test"])
    if not keep_means:
        summary.splits["test"] |= {**means([line["scores"] for line in lines["test"]]), "examples": len(lines["test"])}
    record.write_evaluation(SMALL, lines, summary)
    return folder


def scores(place: int, **values: float) -> Change:
    return lambda lines: lines[place]["scores"].update(values)


def empty(lines: Lines) -> None:
    lines[3]["text"] = ""


def twice(lines: Lines) -> None:
    lines[1]["id"] = lines[0]["id"]


def unknown(lines: Lines) -> None:
    lines[1]["id"] = "test-77"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (scores(2, rougeL=0.9, rouge1=0.2), "'test-2' has rougeL 0.9 above rouge1 0.2"),
        (scores(2, rougeLsum_unstemmed=1.0, rouge1_unstemmed=0.9), "rougeLsum_unstemmed 1 above rouge1_unstemmed 0.9"),
        (scores(0, rouge2=41.0), "'test-0' has rouge2 41, outside 0 to 1"),
        (scores(0, rouge2=-0.1), "outside 0 to 1"),
        (empty, "'test-3' has rouge1 "),
        (twice, "'test-0' is scored twice"),
        (unknown, "'test-77' is none of this evaluation's"),
    ],
)
def test_scores_that_no_evaluation_gives_stop_the_report(make_sweep: Make, change: Change, said: str) -> None:
    folder = tampered(make_sweep([baseline(), configuration("A")]), change)
    with pytest.raises(UserError, match="no report is made of them") as caught:
        write(folder)
    assert said in str(caught.value)
    assert str(caught.value).startswith("A-v1-")
    assert not list((folder / "report").glob("comparison*"))


def test_a_copy_of_the_reference_scores_one_or_the_report_stops(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A", quality=1.0)])
    write(folder)  # every text equals its reference, and scores 1
    with pytest.raises(UserError, match=r"has rouge1 0\.3 for a text that equals its reference"):
        write(tampered(folder, scores(4, rouge1=0.3, rougeL=0.3, rougeLsum=0.3)))


def test_means_that_are_not_those_of_the_scores_stop_the_report(make_sweep: Make) -> None:
    change = scores(0, **dict.fromkeys(("rouge1", "rougeL", "rougeLsum"), 0.01))
    with pytest.raises(UserError, match="its summary says"):
        write(tampered(make_sweep([baseline(), configuration("A")]), change, keep_means=True))


def test_the_command_ends_with_the_sentence(make_sweep: Make) -> None:
    folder = tampered(make_sweep([baseline(), configuration("A")]), twice)
    with pytest.raises(UserError, match=r"^A-v1-"):
        report(folder, with_page=False, **DEFAULTS)


def test_whoever_compares_is_stopped_before_anything_is_printed(
    make_sweep: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tampered(make_sweep([baseline(), configuration("A")]), scores(0, rouge2=41.0))
    with pytest.raises(UserError, match="'test-0' has rouge2 41, outside 0 to 1"):
        compare(folder)
    done = subprocess.run(
        [sys.executable, "-m", "sweep.best", str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "outside 0 to 1" in done.stderr
    console = Console()
    with pytest.raises(UserError):
        print_table(console, folder)
    assert capsys.readouterr().out == ""


def test_true_scores_of_any_text_pass() -> None:
    draw = random.Random(5)
    known = ["Anna moves the\nmeetings", "Анна опоздает", "!?", "", "5.30 at night", "the the the", "a b a", "b a b"]
    lines, references = [], {}
    for place in range(300):
        text, told = draw.choice(known), draw.sample(known, draw.randint(1, 3))
        lines.append({"id": str(place), "text": text, "scores": score(text, told, FAMILIES)})
        references[str(place)] = told
    summary = {"examples": len(lines), **means([line["scores"] for line in lines])}
    check("A", lines, references, summary, FAMILIES)
    for line in lines:
        line["scores"]["rouge1"] += 1.5
    with pytest.raises(UserError, match="outside 0 to 1"):
        check("A", lines, references, summary, FAMILIES)


def test_an_honest_sweep_has_its_scores(make_sweep: Make) -> None:
    evaluation = EvalConfig(validation_examples=4, test_examples=6, metrics=FAMILIES)
    found = compare(make_sweep([baseline(), configuration("A")], evaluation))
    assert {len(found.scores[split].ids) for split in ("validation", "test")} == {4, 6}
