"""The choice on validation, the paired differences on test, and what is said about them."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats as scipy_stats
from sweeps_on_disk import SMALL, baseline, configuration, grid

from analysis.compare import compare
from analysis.comparison.comparison import Comparison
from analysis.findings.findings import Findings
from analysis.findings.sentences import conclusions, title_of
from analysis.render.csv_tables import to_csv
from trainables.config import DECODINGS, Decoding, EvalConfig, eval_id
from trainables.errors import UserError
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_states import TrialState

Make = Callable[..., Path]


def records_by_name(folder: Path) -> dict[str, list[TrialRecord]]:
    found: dict[str, list[TrialRecord]] = {}
    for record in SweepFolder(folder).records():
        found.setdefault(record.config()["name"], []).append(record)
    return found


def scores(record: TrialRecord, split: str, metric: str, evaluation: EvalConfig = SMALL) -> list[float]:
    return [row["scores"][metric] for row in record.predictions(eval_id(evaluation), split)]


def said(found: Comparison) -> str:
    return "\n".join(conclusions(found))


def by_role(found: Comparison) -> dict[str, object]:
    return {difference.role: difference for difference in found.differences}


@pytest.mark.parametrize("metric", ["rougeL", "rouge2_unstemmed", "eval_loss"])
def test_the_best_is_that_of_validation(make_sweep: Make, metric: str) -> None:
    folder = make_sweep()
    found = compare(folder, metric)
    values = {}
    for name, (record, *_) in records_by_name(folder).items():
        summary = record.summary(eval_id(SMALL))
        assert summary
        values[name] = summary.splits["validation"][metric]
    ordered = sorted("ABCDEFGH", key=lambda name: values[name], reverse=metric != "eval_loss")
    assert [one.name for one in found.ranking] == ordered
    assert found.ranking[0].selection == values[ordered[0]]
    marks = {row.name: row.values.get("mark") for row in found.table.rows}
    assert (marks[ordered[0]], marks[ordered[1]]) == ("best", "runner-up")
    assert f"Best: {ordered[0]} (" in conclusions(found)[0]


def test_differences_are_paired_by_example_on_test(make_sweep: Make) -> None:
    folder = make_sweep()
    found = compare(folder)
    assert found.best
    assert found.runner_up
    records = records_by_name(folder)
    ours = scores(records[found.best.name][0], "test", "rougeL")
    others = {"baseline": "zero-shot v2", "runner-up": found.runner_up.name}
    for role, name in others.items():
        difference = next(one for one in found.differences if one.role == role)
        oracle = scipy_stats.ttest_rel(ours, scores(records[name][0], "test", "rougeL"))
        interval = oracle.confidence_interval(0.95)
        assert (difference.against, difference.paired.n) == (name, 20)
        assert (difference.paired.low, difference.paired.high) == pytest.approx((interval.low, interval.high))
        assert difference.paired.p == pytest.approx(oracle.pvalue)
        assert difference.best - difference.other == pytest.approx(difference.paired.mean)
    assert [one.role for one in found.differences] == ["baseline", "runner-up", "constant", "shuffled"]


def test_the_difference_in_loss_is_that_of_the_corpus(make_sweep: Make) -> None:
    folder = make_sweep()
    found = compare(folder, "eval_loss")
    losses = {row.name: row.mean("test", "eval_loss") for row in found.table.rows}
    for difference in found.differences[:2]:
        assert difference.metric == "eval_loss"
        assert difference.best == pytest.approx(losses[found.ranking[0].name])
        assert difference.other == pytest.approx(losses[difference.against])
    assert found.differences[0].paired.mean < 0
    assert found.differences[0].verdict == "better"
    assert [one.metric for one in found.differences[2:]] == ["rougeL", "rougeL"]


def test_only_the_baseline_of_the_same_prompt_is_compared_with(make_sweep: Make) -> None:
    found = compare(make_sweep([baseline("v1"), baseline("v2", quality=0.3), configuration("A", "v2", quality=0.9)]))
    assert found.differences[0].against == "zero-shot v2"
    alone = compare(make_sweep([baseline("v2", state=None), configuration("A", "v2")]))
    assert "baseline" not in by_role(alone)
    assert "no finished zero-shot baseline with the prompt of A" in said(alone)


@pytest.mark.parametrize("state", ["failed", "diverged", "oom"])
def test_what_did_not_end_well_is_never_best_even_with_scores(make_sweep: Make, state: str) -> None:
    folder = make_sweep([baseline(), configuration("A", quality=0.3), configuration("B", rank=16, quality=0.95)])
    record = records_by_name(folder)["B"][0]
    result = record.result()
    assert result is not None
    record.write_result(result.model_copy(update={"state": TrialState(state), "cause": "step 7 was not finite"}))
    found = compare(folder)
    assert [one.name for one in found.ranking] == ["A"]
    assert "step 7 was not finite" in said(found)


def test_a_loss_that_is_not_finite_is_never_best(make_sweep: Make) -> None:
    folder = make_sweep([configuration("A"), configuration("B", rank=16)])
    record = records_by_name(folder)["B"][0]
    summary = record.summary(eval_id(SMALL))
    assert summary
    summary.splits["validation"]["eval_loss"] = -math.inf
    predictions = {split: record.predictions(eval_id(SMALL), split) for split in SMALL.examples}
    record.write_evaluation(SMALL, predictions, summary)
    assert [one.name for one in compare(folder, "eval_loss").ranking] == ["A"]


def test_a_trial_stopped_by_the_scheduler_competes_and_is_named(make_sweep: Make) -> None:
    found = compare(
        make_sweep([configuration("A", quality=0.2), configuration("B", rank=16, state="stopped", quality=0.9)])
    )
    assert found.ranking[0].name == "B"
    assert "B was stopped early by the scheduler and is compared as it was then." in said(found)


def test_all_that_were_stopped_are_named_in_one_sentence(make_sweep: Make) -> None:
    stopped = [configuration(name, rank=rank, state="stopped") for name, rank in (("B", 16), ("C", 32))]
    found = compare(make_sweep([configuration("A"), *stopped]))
    assert "B and C were stopped early by the scheduler and are compared as they were then." in said(found)


def test_a_set_too_small_is_said_with_the_size_that_would_do(make_sweep: Make) -> None:
    found = compare(make_sweep([configuration("A", quality=0.5), configuration("B", rank=16, quality=0.5)]))
    difference = next(one for one in found.differences if one.role == "runner-up")
    assert difference.verdict == "cannot tell"
    assert difference.needed
    assert difference.needed > 20
    assert "The test set is too small to tell" in said(found)
    assert "20 examples show a difference in ROUGE-L from" in said(found)


def test_a_set_large_enough_is_not_called_too_small(make_sweep: Make) -> None:
    found = compare(make_sweep([configuration("A", quality=0.1), configuration("B", rank=16, quality=1.0)]))
    assert next(one for one in found.differences if one.role == "runner-up").verdict == "better"
    assert "too small" not in said(found)


def test_a_model_that_ignores_its_input_is_found_out(make_sweep: Make) -> None:
    found = compare(make_sweep([baseline(quality=0.0), configuration("A", quality=0.05)]))
    assert "worse than one constant summary for every input by ROUGE-L: it may ignore its input" in said(found)


def test_seeds_are_averaged_per_example(make_sweep: Make) -> None:
    seeds = (42, 43, 44)
    trials = [configuration("A", seed=seed, quality=0.5) for seed in seeds]
    trials += [configuration("B", rank=16, seed=seed, quality=0.8) for seed in seeds]
    folder = make_sweep([baseline(), *trials])
    found = compare(folder)
    best = found.best
    assert best
    records = records_by_name(folder)
    means = {name: [sum(scores(one, "validation", "rougeL")) / 12 for one in records[name]] for name in "AB"}
    assert (best.name, len(best.rows)) == ("B", 3)
    assert best.selection == pytest.approx(sum(means["B"]) / 3)
    assert best.spread == pytest.approx(scipy_stats.tstd(means["B"]))
    per_seed = {name: [scores(one, "test", "rougeL") for one in records[name]] for name in "AB"}
    first, second = ([sum(values) / 3 for values in zip(*per_seed[name], strict=True)] for name in "BA")
    interval = scipy_stats.ttest_rel(first, second).confidence_interval(0.95)
    difference = next(one for one in found.differences if one.role == "runner-up")
    assert (difference.paired.low, difference.paired.high) == pytest.approx((interval.low, interval.high))
    assert found.best_trial
    assert found.best_trial.mean("validation", "rougeL") == max(means["B"])
    assert "mean over its seeds" in said(found)


def test_a_seed_without_result_is_left_out_and_named(make_sweep: Make) -> None:
    trials = [configuration("A", seed=42), configuration("A", seed=43, state="diverged", cause="NaN at step 3")]
    found = compare(make_sweep([*trials, configuration("B", rank=16, quality=0.2)]))
    assert len(found.ranking[0].rows) == 1
    assert "A is the mean of 1 of its 2 seeds" in said(found)
    assert "A-v1-r8-lr0.0005-s43 diverged: NaN at step 3." in said(found)


def test_what_is_not_done_is_said_and_the_choice_may_change(make_sweep: Make) -> None:
    changes = {"B": {"state": None}, "D": {"state": None}, "F": {"state": "failed", "cause": "ValueError: no layer"}}
    text = said(compare(make_sweep(grid(**changes))))
    assert f"B and D are not done under evaluation {eval_id(SMALL)}: the choice may change." in text
    assert "F failed: ValueError: no layer." in text


def test_without_any_result_there_is_nothing_to_choose(make_sweep: Make) -> None:
    for trials in ([], [baseline(), configuration("A", state=None)]):
        found = compare(make_sweep(trials))
        assert (found.best, found.best_trial, found.differences) == (None, None, ())
        assert conclusions(found)[0].startswith("No configuration has finished")


def test_evaluations_of_other_identity_are_never_mixed(make_sweep: Make) -> None:
    other = replace_decoding(SMALL, DECODINGS["beam4"])
    trials = [
        baseline(evaluations=(SMALL, other)),
        configuration("A", quality=0.3, evaluations=(SMALL, other)),
        configuration("B", rank=16, quality=0.9, evaluations=(other,)),
    ]
    folder = make_sweep(trials)
    assert [one.name for one in compare(folder).ranking] == ["A"]
    assert [one.name for one in compare(folder, eval_id=eval_id(other)).ranking] == ["B", "A"]


def replace_decoding(evaluation: EvalConfig, decoding: Decoding) -> EvalConfig:
    return evaluation.model_copy(update={"decoding": decoding})


def test_chosen_and_reported_on_one_split_is_called_optimistic(make_sweep: Make) -> None:
    evaluation = EvalConfig(validation_examples=0, test_examples=20)
    found = compare(make_sweep([baseline(), *grid()[2:4]], evaluation))
    assert found.best
    assert "on the same test examples: the score of the best is optimistic" in said(found)


def test_scores_made_in_different_ways_are_not_passed_over(make_sweep: Make) -> None:
    folder = make_sweep([configuration("A"), configuration("B", rank=16)])
    record = records_by_name(folder)["B"][0]
    summary = record.summary(eval_id(SMALL))
    assert summary
    predictions = {split: record.predictions(eval_id(SMALL), split) for split in SMALL.examples}
    other = summary.model_copy(update={"signature": "ROUGE: another version"})
    record.write_evaluation(SMALL, predictions, other)
    found = compare(folder)
    assert len(found.table.signatures) == 2
    assert "scored in different ways" in said(found)


def test_losses_over_other_tokens_are_not_compared(make_sweep: Make) -> None:
    folder = make_sweep([configuration("A"), configuration("B", rank=16, train={"model": "another"})])
    record = records_by_name(folder)["B"][0]
    summary = record.summary(eval_id(SMALL))
    assert summary
    predictions = {split: record.predictions(eval_id(SMALL), split) for split in SMALL.examples}
    for row in predictions["test"]:
        row["nll_tokens"] += 3
    record.write_evaluation(SMALL, predictions, summary)
    found = compare(folder, "eval_loss")
    assert "runner-up" not in by_role(found)
    assert "Losses of different base models cannot be compared" in said(found)


def test_examples_without_a_loss_are_left_out_of_both(make_sweep: Make) -> None:
    folder = make_sweep([configuration("A"), configuration("B", rank=16)])
    record = records_by_name(folder)["B"][0]
    summary = record.summary(eval_id(SMALL))
    assert summary
    predictions = {split: record.predictions(eval_id(SMALL), split) for split in SMALL.examples}
    predictions["test"][3] |= {"nll": None, "nll_tokens": 0, "ended": "error"}
    record.write_evaluation(SMALL, predictions, summary)
    difference = next(one for one in compare(folder, "eval_loss").differences if one.role == "runner-up")
    assert difference.paired.n == 19


def test_an_unknown_metric_names_the_nearest(make_sweep: Make) -> None:
    with pytest.raises(UserError, match=r"'rogueL' is not in this evaluation; did you mean 'rougeL'\?"):
        compare(make_sweep([]), "rogueL")


def test_chrf_decides_where_it_was_asked_for(make_sweep: Make) -> None:
    evaluation = SMALL.model_copy(update={"metrics": ("rouge", "chrf")})
    found = compare(make_sweep([baseline(), *grid()[2:4]], evaluation), "chrf")
    assert found.best
    assert found.best.selection == max(
        row.mean("validation", "chrf") or 0 for row in found.table.of_kind("configuration")
    )
    assert {one.metric for one in found.differences} == {"chrf"}
    with pytest.raises(UserError, match="'chrf' is not in this evaluation"):
        compare(make_sweep([]), "chrf")


def test_precision_recall_and_bleu_are_in_every_form_where_they_were_asked_for(make_sweep: Make) -> None:
    evaluation = SMALL.model_copy(update={"metrics": ("rouge", "rouge_pr", "bleu")})
    found = compare(make_sweep([baseline(), *grid()[2:4]], evaluation), "rougeL_recall")
    assert "chosen by ROUGE-L recall" in conclusions(found)[0]
    assert title_of("rouge1_precision_unstemmed") == "unstemmed ROUGE-1 precision"
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    for name in ("bleu", "rougeL_recall", "rouge2_precision_unstemmed"):
        assert all(0 <= float(row[name]) <= 100 for row in rows)
        assert float(rows[-1][name]) > 0
    assert {one.metric for one in Findings(found).every_test} == set(found.metrics)


def test_the_metric_of_the_sweep_is_the_default(make_sweep: Make) -> None:
    assert compare(make_sweep([configuration("A")], metric="eval_loss")).metric == "eval_loss"


def test_equal_configurations_rank_in_the_order_of_the_table(make_sweep: Make) -> None:
    first = configuration("A", quality=1.0)
    second = replace(configuration("B", rank=16, quality=1.0), label="B")
    found = compare(make_sweep([first, second]))
    assert [one.name for one in found.ranking] == ["A", "B"]
    assert found.differences[0].paired.mean == 0
    assert "A and B, the runner-up, score the same by ROUGE-L on all 20 test examples." in said(found)
