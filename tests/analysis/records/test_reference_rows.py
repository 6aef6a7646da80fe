"""Reference rows: what they copy, that they are right on known data, and that they are computed once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rouge_score import rouge_scorer
from sweeps_on_disk import SMALL, baseline, configuration, grid, make_examples, without_schema

from analysis.compare import compare
from analysis.records.reference_rows import best_constant, derangement, lead, longest, pieces
from analysis.report import write
from trainables.config import EvalConfig, eval_id
from trainables.records import atomic_files
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import SweepFolder
from trainables.scoring.metrics import means, score

Make = Callable[..., Path]
REAL = Path(__file__).resolve().parents[4] / "shared" / "real"


def test_turns_are_lines_and_a_text_of_one_line_has_sentences() -> None:
    assert pieces("Anna: hi!\n\n Ben: hey. You?\r\nAnna: ok\n") == ["Anna: hi!", "Ben: hey. You?", "Anna: ok"]
    assert pieces("It rains. Does it? Yes! At 5.30 too.") == ["It rains.", "Does it?", "Yes!", "At 5.30 too."]
    assert pieces("") == []
    assert lead("a\nb\nc\nd") == "a\nb\nc"
    assert longest("a\nbbb\nc\ndd\neeee") == "bbb\ndd\neeee"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data are not beside the checkout")
def test_lead_and_longest_score_as_published_on_spoken_dialogues() -> None:
    path = REAL / "dialogsum" / "dialogsum.test.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 500
    for make, expected in ((lead, (26.19, 6.76, 20.28)), (longest, (22.64, 6.39, 16.78))):
        found = means([score(make(row["dialogue"]), [row["summary1"]]) for row in rows])
        points = [100 * found[f"{name}_unstemmed"] for name in ("rouge1", "rouge2", "rougeL")]
        assert points == pytest.approx(expected, abs=0.006)


def test_the_constant_is_the_summary_closest_to_all_by_rouge() -> None:
    draw = random.Random(1)
    sentence = "Anna Ben meet meets meeting for a picnic in the park tomorrow and they talk"
    vocabulary = sentence.split()
    texts = [" ".join(draw.choices(vocabulary, k=draw.randint(0, 14))) for _ in range(30)]
    texts += texts[:3]  # repeats count as often as they are there
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    totals = [sum(scorer.score(other, text)["rougeL"].fmeasure for other in texts) for text in texts]
    assert best_constant(texts) == texts[totals.index(max(totals))]


@pytest.mark.parametrize("count", [2, 3, 64])
def test_a_derangement_leaves_nothing_in_its_place(count: int) -> None:
    for seed in range(20):
        order = derangement(count, seed)
        assert sorted(order) == list(range(count))
        assert all(place != index for index, place in enumerate(order))
        assert order == derangement(count, seed)


def test_reference_rows_stand_between_baselines_and_configurations(make_sweep: Make) -> None:
    table = compare(make_sweep()).table
    names = [row.name for row in table.rows]
    assert names[:6] == ["zero-shot v1", "zero-shot v2", "LEAD-3", "LONGEST-3", "constant", "H shuffled"]
    for row in table.of_kind("reference"):
        assert 0 < row.values["rougeL"] < 1
        assert 0 < row.values["validation_rougeL"] < 1
        assert row.values["examples"] == 20


def test_reference_scores_are_those_of_their_texts(make_sweep: Make) -> None:
    found = compare(make_sweep())
    examples = make_examples("test", 20)
    by_name = {reference.name: reference for reference in found.references}
    assert by_name["LEAD-3"].scores["test"] == [score(lead(row["source"]), row["references"]) for row in examples]
    train = [row["references"][0] for row in make_examples("train", 64)]
    constant = best_constant(train)
    assert by_name["constant"].scores["test"] == [score(constant, row["references"]) for row in examples]


def test_the_constant_is_chosen_on_the_examples_that_were_used(make_sweep: Make) -> None:
    found = compare(make_sweep([configuration("A", train={"train_examples": 2})]))
    constant = next(reference for reference in found.references if reference.name == "constant")
    used = best_constant([row["references"][0] for row in make_examples("train", 2)])
    assert constant.scores["test"][0] == score(used, make_examples("test", 1)[0]["references"])
    assert "2 training examples" in constant.about


def test_shuffled_texts_that_are_all_alike_score_as_they_did(make_sweep: Make) -> None:
    folder = make_sweep([configuration("A")])
    record = SweepFolder(folder).records()[0]
    rows = {}
    for split, count in SMALL.examples.items():
        examples = make_examples(split, count)
        scores = [score("Anna and Ben meet", row["references"]) for row in examples]
        rows[split] = [
            {"id": row["id"], "text": "Anna and Ben meet", "scores": one}
            for row, one in zip(examples, scores, strict=True)
        ]
    splits = {split: means(row["scores"] for row in lines) for split, lines in rows.items()}
    record.write_evaluation(SMALL, rows, EvaluationSummary(signature="s", splits=splits))
    found = compare(folder)
    shuffled = next(one for one in found.differences if one.role == "shuffled")
    assert (shuffled.paired.mean, shuffled.verdict) == (pytest.approx(0, abs=1e-12), "same")


@pytest.mark.slow
@pytest.mark.parametrize("is_older", [False, True])
def test_a_second_comparison_computes_no_text_score(make_sweep: Make, is_older: bool) -> None:
    folder = make_sweep()
    first = compare(folder)
    assert not SweepFolder(folder).report_folder.exists()  # a comparison alone changes nothing
    write(folder)
    if is_older:
        without_schema(SweepFolder(folder).report_folder / f"references-{eval_id(SMALL)}.json")
    check = (
        "import sys; from pathlib import Path; from analysis.compare import compare;"
        f"found = compare(Path({str(folder)!r}));"
        "print('rouge_score' in sys.modules, [r.values['rougeL'] for r in found.table.of_kind('reference')])"
    )
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout
    assert out == f"False {[row.values['rougeL'] for row in first.table.of_kind('reference')]}\n"


def test_kept_scores_are_not_used_for_other_texts_or_when_damaged(make_sweep: Make) -> None:
    folder = make_sweep()
    first = compare(folder)
    write(folder)
    path = SweepFolder(folder).report_folder / f"references-{eval_id(SMALL)}.json"
    path.write_text(path.read_text().replace("0.", "0.9", 1))
    assert compare(folder).references == first.references
    write(folder)
    assert path.with_name(path.name + ".damaged").exists()
    assert atomic_files.damage_of(path) is None
    changed = make_examples("test", 20)
    changed[0]["source"] = "Anna: we meet\nBen: yes\nAnna: ok"
    sweep = SweepFolder(folder)
    sweep.write_examples(sweep.evaluation_examples_path("test"), changed)
    assert compare(folder).references[0].scores["test"][0] != first.references[0].scores["test"][0]


def test_without_examples_or_with_one_there_is_still_a_comparison(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A")], EvalConfig(validation_examples=1, test_examples=1))
    assert [one.name for one in compare(folder).references] == ["LEAD-3", "LONGEST-3", "constant"]
    SweepFolder(folder).evaluation_examples_path("test").unlink()
    assert compare(folder).references == ()


def test_a_sweep_without_a_result_has_the_rows_that_need_none(make_sweep: Make) -> None:
    pending = grid(**{name: {"state": None} for name in "ABCDEFGH"})
    assert [one.name for one in compare(make_sweep(pending)).references] == ["LEAD-3", "LONGEST-3", "constant"]
