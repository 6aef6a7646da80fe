"""The alarm: silent on what works, first of all sentences on what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sweeps_on_disk import baseline, configuration

from analysis.compare import compare
from analysis.texts import plausibility
from analysis.texts.behaviour import panel
from analysis.texts.outputs import collect
from trainables.config import EvalConfig
from trainables.records.atomic_files import read_lines
from trainables.records.record import SweepFolder
from trainables.scoring.metrics import means, score

Make = Callable[..., Path]
LARGE = EvalConfig(validation_examples=10, test_examples=60)


def checks(folder: Path) -> list[plausibility.PlausibilityCheck]:
    return plausibility.check(panel(collect(compare(folder))))


def rewrite(folder: Path, name: str, change: Callable[[list[dict]], list[dict]]) -> None:
    """Evaluate a trial again with other texts, scored as they are."""
    sweep = SweepFolder(folder)
    examples = {}
    for split in ("validation", "test"):
        examples[split] = {row["id"]: row for row in read_lines(sweep.evaluation_examples_path(split))}
    record = next(one for one in sweep.records() if one.config()["name"] == name)
    evaluation = EvalConfig.model_validate(sweep.manifest().evaluation)
    identity = sweep.manifest().eval_id
    summary = record.summary(identity)
    assert summary
    predictions = {}
    for split in evaluation.examples:
        rows = change(record.predictions(identity, split))
        for row in rows:
            row["scores"] = score(row["text"], examples[split][row["id"]]["references"])
        predictions[split] = rows
        summary.splits[split] |= means(row["scores"] for row in rows)
    record.write_evaluation(evaluation, predictions, summary)


def test_a_working_evaluation_raises_no_alarm(make_sweep: Make) -> None:
    folder = make_sweep([baseline(quality=0.4), configuration("A", quality=0.7)], LARGE)
    found = checks(folder)
    assert [one.name for one in found] == ["zero-shot v1", "A"]
    assert all(one.is_plausible for one in found)
    assert plausibility.alarm(found) == ""
    assert list(plausibility.frame(found)["plausible"]) == [True, True]


def test_texts_given_to_other_examples_raise_the_alarm(make_sweep: Make) -> None:
    folder = make_sweep([baseline(quality=0.4), configuration("A", quality=0.8)], LARGE)

    def shifted(rows: list[dict]) -> list[dict]:
        texts = [row["text"] for row in rows]
        return [{**row, "text": text} for row, text in zip(rows, [*texts[1:], texts[0]], strict=True)]

    rewrite(folder, "A", shifted)
    said = plausibility.alarm(checks(folder))
    assert said.startswith("The evaluation is probably broken: A (")
    assert "no better by ROUGE-L than with its texts given to other examples" in said
    assert "zero-shot" not in said


def test_lost_texts_raise_the_alarm(make_sweep: Make) -> None:
    folder = make_sweep([baseline(quality=0.4), configuration("A", quality=0.8)], LARGE)
    rewrite(folder, "A", lambda rows: [{**row, "text": ""} for row in rows])
    said = plausibility.alarm(checks(folder))
    assert "below a tenth of LEAD-3" in said
    assert "A (0.00)" in said


def test_a_constant_text_raises_the_alarm_with_many_examples(make_sweep: Make) -> None:
    folder = make_sweep([baseline(quality=0.4), configuration("A", quality=0.8)], LARGE)
    rewrite(folder, "A", lambda rows: [{**row, "text": "Anna and Ben meet at school."} for row in rows])
    assert "A (" in plausibility.alarm(checks(folder))


def test_few_examples_raise_no_alarm_for_want_of_certainty(make_sweep: Make) -> None:
    few = EvalConfig(validation_examples=5, test_examples=5)
    found = checks(make_sweep([baseline(quality=0.4), configuration("A", quality=0.7)], few))
    assert plausibility.alarm(found) == ""
    one = EvalConfig(validation_examples=1, test_examples=1)
    assert checks(make_sweep([baseline(), configuration("A")], one)) == []


@pytest.mark.parametrize("quality", [0.3, 0.5])
def test_the_shuffled_score_is_that_of_the_comparison(make_sweep: Make, quality: float) -> None:
    found = compare(make_sweep([baseline(), configuration("A", quality=quality)], LARGE))
    shuffled = next(one for one in found.differences if one.role == "shuffled")
    check = next(one for one in plausibility.check(panel(collect(found))) if one.name == "A")
    assert check.shuffled == pytest.approx(shuffled.other, abs=1e-9)
    assert check.difference is not None
    assert check.difference.mean == pytest.approx(shuffled.paired.mean, abs=1e-9)


def test_the_alarm_says_what_else_looks_the_same(make_sweep: Make) -> None:
    few = EvalConfig(validation_examples=8, test_examples=8)
    for evaluation, is_few in ((few, True), (LARGE, False)):
        said = plausibility.alarm(
            checks(make_sweep([baseline(quality=0.0), configuration("A", quality=0.0)], evaluation))
        )
        assert "A model that cannot do the task yet looks the same" in said
        assert ("With 8 examples it may also be chance." in said) == is_few
