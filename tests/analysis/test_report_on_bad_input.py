"""What a report says of a sweep that it cannot judge as usual: a sentence in every form, never a wrong number."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from sweeps_on_disk import Trial, baseline, configuration, write_curve

from analysis.compare import compare
from analysis.findings.answer import answer
from analysis.findings.findings import Findings
from analysis.findings.sentences import conclusions
from analysis.render.csv_tables import to_csv
from analysis.render.markdown import to_markdown
from analysis.report import write, write_page
from trainables.config import EvalConfig
from trainables.errors import UserError
from trainables.records import atomic_files
from trainables.records.record import SweepFolder
from trainables.scoring.metrics import means, score

Make = Callable[..., Path]
FAILED = {"state": "failed", "cause": "no memory"}


def in_cyrillic(folder: Path, ending: str = "") -> None:
    """Give all examples and texts Cyrillic letters, references an ending, and score them anew."""
    sweep = SweepFolder(folder)
    evaluation = EvalConfig.model_validate(sweep.manifest().evaluation)
    letters = str.maketrans("abcdefghijklmnoprstuvwxyz", "абцдефгхийклмнопрстувшхыз")
    for split in evaluation.examples:
        path = sweep.evaluation_examples_path(split)
        rows = atomic_files.read_lines(path)
        for row in rows:
            row["references"] = [text.lower().translate(letters) + ending for text in row["references"]]
        atomic_files.write_lines(path, rows)
    for record in sweep.records():
        summary = record.summary(sweep.manifest().eval_id)
        assert summary
        predictions = {}
        for split in evaluation.examples:
            known = {
                row["id"]: row["references"] for row in atomic_files.read_lines(sweep.evaluation_examples_path(split))
            }
            lines = record.predictions(summary.eval_id, split)
            for line in lines:
                line["text"] = line["text"].lower().translate(letters)
                line["scores"] = score(line["text"], known[line["id"]], evaluation.metrics)
            summary.splits[split] |= means([line["scores"] for line in lines])
            predictions[split] = lines
        record.write_evaluation(evaluation, predictions, summary)


@pytest.mark.parametrize("ending", ["", " 7:00", " Zoom 7:00"])
def test_chrf_decides_where_rouge_sees_no_words(make_sweep: Make, ending: str) -> None:
    both = EvalConfig(validation_examples=12, test_examples=20, metrics=("rouge", "chrf"))
    folder = make_sweep([baseline(), configuration("A", quality=0.4), configuration("B", rank=16, quality=0.8)], both)
    assert compare(folder).metric == "rougeL"
    in_cyrillic(folder, ending)
    found = compare(folder)
    assert (found.metric, found.best and found.best.name, found.ending) == ("chrf", "B", "")
    assert conclusions(found)[1].endswith("so its scores say nothing here: chrF decides in its place.")
    assert compare(folder, "rougeL").ending == "-rougeL"


def test_text_that_rouge_cannot_read_is_said_in_every_form(make_sweep: Make) -> None:
    both = EvalConfig(validation_examples=12, test_examples=20, metrics=("rouge", "chrf"))
    trials = [baseline(), configuration("A", quality=0.4), configuration("B", rank=16, quality=0.8)]
    folder = make_sweep(trials, both)
    in_cyrillic(folder)
    said = "ROUGE sees no words in the references of 12 of 12 validation examples"
    text = to_markdown(Findings(compare(folder, "rougeL")))
    assert said in text
    assert "compare by chrF, by --metric chrf" in text
    alone = make_sweep(trials)
    in_cyrillic(alone)
    assert "compare by chrF, after sweep eval --metrics rouge,chrf" in to_markdown(Findings(compare(alone)))


@pytest.mark.parametrize(
    ("trials", "said"),
    [
        ([baseline(**FAILED), configuration("A", **FAILED)], "A failed: no memory."),
        ([baseline(state=None), configuration("A", state=None)], "not done under evaluation"),
        ([baseline(), configuration("A", state=None), configuration("B", rank=16)], "A is not done under evaluation"),
        ([baseline(evaluations=()), configuration("A", evaluations=())], "not done under evaluation"),
    ],
    ids=["all failed", "nothing done", "still running", "no predictions"],
)
def test_a_sweep_without_every_result_is_reported_as_far_as_it_is(
    make_sweep: Make, trials: list[Trial], said: str
) -> None:
    found = compare(make_sweep(trials))
    write(found.table.folder)
    text = to_markdown(Findings(found))
    assert said in text
    assert not re.search(r"\b(nan|inf)\b", text.lower())
    assert not re.search(r"\b(nan|inf)\b", to_csv(found).lower())


@pytest.mark.parametrize("name", ["A", "B"])
def test_no_form_of_a_report_names_a_winner_that_damage_may_have_made(make_sweep: Make, name: str) -> None:
    folder = make_sweep([baseline(), configuration("A", quality=0.4), configuration("B", rank=16, quality=0.8)])
    record = next(one for one in SweepFolder(folder).records() if one.config()["name"] == name)
    record.result_path.write_text(record.result_path.read_text().replace("done", "dome"))
    found = compare(folder)
    findings = Findings(found)
    other = {"A": "B", "B": "A"}[name]
    said = (
        f"No best can be named: {name} may be better; of what can be read {other} is the best ({name}: result.json is"
    )
    assert [one.name for one in found.hidden] == [name]
    write_page(folder, findings=findings)
    write(folder)
    page = (SweepFolder(folder).report_folder / "index.html").read_text()
    for text in (answer(findings)[0], conclusions(found)[0], to_markdown(findings), page):
        assert said in text
        assert "Best: " not in text
        assert "Keep " not in text


def test_damage_that_hides_no_score_is_said_beside_the_winner(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A", quality=0.4), configuration("B", rank=16, quality=0.8)])
    write_curve(folder, "A", [3.0, 2.5, 2.25])
    record = next(one for one in SweepFolder(folder).records() if one.config()["name"] == "A")
    result = record.result()
    assert result is not None
    record.write_result(result)
    assert "damaged" not in to_markdown(Findings(compare(folder)))
    record.metrics_path.write_text(record.metrics_path.read_text().replace("2.25", "1.25"))
    found = compare(folder)
    assert found.best is not None
    assert (found.best.name, found.hidden) == ("B", ())
    assert "A: metrics.jsonl is damaged: line 15" in to_markdown(Findings(found))


def test_one_example_gives_scores_and_no_claim(make_sweep: Make) -> None:
    one = EvalConfig(validation_examples=1, test_examples=1)
    trials = [baseline(), configuration("A"), configuration("B", rank=16, quality=1.0)]
    found = compare(make_sweep(trials, one))
    findings = Findings(found)
    text = to_markdown(findings)
    assert not re.search(r"\b(is|are) (better|worse)", text)
    assert not re.search(r"\b(nan|inf)\b", text.lower())
    assert all(math.isfinite(test.score) and not test.has_star for test in findings.every_test)


@pytest.mark.parametrize("name", ["eval_id", "evaluation", "experiment", "resolved"])
def test_a_sweep_whose_json_lacks_what_every_sweep_has_is_damaged(make_sweep: Make, name: str) -> None:
    folder = make_sweep()
    path = SweepFolder(folder).sweep_path
    content = atomic_files.read_json(path)
    del content[name]
    atomic_files.write_json(path, content)
    with pytest.raises(UserError, match=rf"sweep\.json is damaged: {name} is missing"):
        compare(folder)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is no whole JSON document"),
        ("[1]", "it is no JSON object"),
        ('{"schema": 1}', "its checksum is missing"),
    ],
)
def test_a_sweep_whose_json_is_none_says_what_it_is_in_words(make_sweep: Make, text: str, why: str) -> None:
    folder = make_sweep()
    SweepFolder(folder).sweep_path.write_text(text)
    with pytest.raises(UserError, match=rf"sweep\.json is damaged: {why}"):
        compare(folder)
