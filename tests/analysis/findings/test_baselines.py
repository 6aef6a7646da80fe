"""Every configuration against its baseline: what is said of differences, seeds, few examples and no difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats
from simulated import comparison, systems
from sweeps_on_disk import SMALL, baseline, configuration, grid

from analysis.compare import compare
from analysis.findings import mixed_model
from analysis.findings.baseline_sentences import baseline_sentences
from analysis.findings.baselines import against_baselines, compare_runs, frame
from analysis.findings.findings import Findings
from analysis.statistics.multiple_testing import benjamini_hochberg, holm
from trainables.config import EvalConfig, eval_id
from trainables.records.record import SweepFolder

Make = Callable[..., Path]


def scores_of(folder: Path, name: str, metric: str = "rougeL", evaluation: EvalConfig = SMALL) -> list[list[float]]:
    records = [one for one in SweepFolder(folder).records() if one.config()["name"] == name]
    return [[row["scores"][metric] for row in one.predictions(eval_id(evaluation), "test")] for one in records]


def test_every_metric_is_compared_with_the_baseline_of_the_same_prompt(make_sweep: Make) -> None:
    folder = make_sweep(grid())
    found = compare(folder)
    tests = against_baselines(found)
    assert {one.metric for one in tests} == set(found.metrics)
    assert tests[0].metric == "rougeL"
    for metric in ("rougeL", "rouge2_unstemmed"):
        rows = {one.name: one for one in tests if one.metric == metric}
        assert {name: one.baseline for name, one in rows.items()} == {
            **dict.fromkeys("ABCD", "zero-shot v1"),
            **dict.fromkeys("EFGH", "zero-shot v2"),
        }
        for name, one in rows.items():
            ours, theirs = scores_of(folder, name, metric)[0], scores_of(folder, one.baseline, metric)[0]
            oracle = scipy_stats.ttest_rel(ours, theirs)
            interval = oracle.confidence_interval(0.95)
            assert (one.low, one.high) == pytest.approx((interval.low, interval.high))
            assert one.p_t == pytest.approx(oracle.pvalue)
            assert one.difference == pytest.approx(one.score - one.baseline_score)
            assert one.relative == pytest.approx(one.difference / one.baseline_score)
            assert one.wins + one.ties + one.losses == pytest.approx(1)
            assert one.wins == np.mean(np.array(ours) > np.array(theirs))
        assert [one.p_holm for one in rows.values()] == pytest.approx(holm([one.p for one in rows.values()]))
        assert [one.p_bh for one in rows.values()] == pytest.approx(
            benjamini_hochberg([one.p for one in rows.values()])
        )


def test_a_lower_loss_is_better_and_is_that_of_the_corpus(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A", quality=0.9)])
    found = compare(folder, "eval_loss")
    one = against_baselines(found, ["eval_loss"])[0]
    losses = {row.name: row.mean("test", "eval_loss") for row in found.table.rows}
    assert (one.score, one.baseline_score) == pytest.approx((losses["A"], losses["zero-shot v1"]))
    assert one.difference < 0
    assert (one.verdict, one.wins) == ("better", 1.0)


def test_all_or_none_or_some_are_said_to_be_better(make_sweep: Make) -> None:
    every = compare(make_sweep(grid()))
    assert baseline_sentences(every, against_baselines(every))[0].startswith("All 8 configurations are better")
    some = compare(
        make_sweep([baseline(quality=0.3), configuration("A", quality=0.9), configuration("B", rank=16, quality=0.3)])
    )
    said = baseline_sentences(some, against_baselines(some))[0]
    assert said.startswith("1 of 2 configurations (A) is better than the untrained model with the same prompt")
    worse = compare(make_sweep([baseline(quality=0.9), configuration("A", quality=0.1)]))
    said = baseline_sentences(worse, against_baselines(worse))
    assert [one.split(" the untrained")[0] for one in said] == ["The one configuration is worse than"]


def test_no_star_is_given_or_expected_of_too_few_examples(make_sweep: Make) -> None:
    few = EvalConfig(validation_examples=5, test_examples=5)
    found = compare(make_sweep(grid(), few))
    tests = against_baselines(found, ["rougeL"])
    assert all(one.difference > 0.1 for one in tests)
    assert not any(one.has_star or one.star_attainable for one in tests)
    said = baseline_sentences(found, tests)
    assert said[0].startswith("With 5 examples and 8 configurations no difference from a baseline could have been")
    assert "better than the untrained" not in " ".join(said)


def test_the_same_model_twice_is_equivalent_and_a_small_clear_gain_is_still_a_gain() -> None:
    draw = np.random.default_rng(0)
    base = systems(draw, 1, 200)[0]
    same, gain = base + draw.normal(0, 0.02, 200), base + draw.normal(0.006, 0.02, 200)
    tests = against_baselines(comparison({"test": np.array([base, same, gain])}), ["rougeL"])
    assert [one.verdict for one in tests] == ["equivalent", "better"]
    assert all(one.is_equivalent for one in tests)


def test_a_baseline_of_nothing_has_no_relative_gain() -> None:
    values = np.vstack([np.zeros(30), np.full(30, 0.2)])
    one = against_baselines(comparison({"test": values}), ["rougeL"])[0]
    assert (one.relative, one.d_z, one.verdict) == (None, None, "better")


def test_seeds_are_kept_apart_from_examples(make_sweep: Make) -> None:
    trials = [configuration("A", seed=seed, quality=0.5 + 0.1 * place) for place, seed in enumerate((42, 43, 44))]
    folder = make_sweep([baseline(), *trials])
    one = against_baselines(compare(folder), ["rougeL"])[0]
    runs = np.array(scores_of(folder, "A"))
    base = np.array(scores_of(folder, "zero-shot v1")[0])
    over_examples = scipy_stats.ttest_rel(runs.mean(axis=0), base).confidence_interval()
    over_runs = scipy_stats.ttest_1samp(runs.mean(axis=1) - base.mean(), 0)
    assert (one.runs, one.n) == (3, 20)
    assert (one.low, one.high) == pytest.approx((over_examples.low, over_examples.high))
    assert (one.run_low, one.run_high) == pytest.approx(tuple(over_runs.confidence_interval()))
    assert one.p_runs == pytest.approx(over_runs.pvalue)
    assert one.run_sd == pytest.approx(runs.mean(axis=1).std(ddof=1))
    alone = against_baselines(compare(make_sweep([baseline(), configuration("A")])), ["rougeL"])[0]
    assert (alone.runs, alone.run_low, alone.p_runs) == (1, None, None)


def test_runs_of_both_sides_are_compared_as_welch_does() -> None:
    ours, theirs = [0.31, 0.35, 0.30, 0.33], [0.25, 0.29]
    found = compare_runs(ours, theirs)
    oracle = scipy_stats.ttest_ind(ours, theirs, equal_var=False)
    interval = oracle.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p == pytest.approx(oracle.pvalue)


def test_what_has_not_finished_is_not_compared(make_sweep: Make) -> None:
    trials = grid(A={"state": None}, B={"state": "failed", "cause": "no"})
    assert {one.name for one in against_baselines(compare(make_sweep(trials)))} == set("CDEFGH")
    assert against_baselines(compare(make_sweep([configuration("A")]))) == ()
    nothing = compare(make_sweep([]))
    assert (against_baselines(nothing), baseline_sentences(nothing, ())) == ((), [])


def test_a_trial_scored_on_other_examples_is_compared_on_those_in_common_and_named(make_sweep: Make) -> None:
    folder = make_sweep(grid())
    record = next(one for one in SweepFolder(folder).records() if one.config()["name"] == "C")
    identity = eval_id(SMALL)
    summary = record.summary(identity)
    assert summary
    kept = {split: record.predictions(identity, split)[3:] for split in SMALL.examples}
    record.write_evaluation(SMALL, kept, summary)
    found = compare(folder)
    tests = {one.name: one for one in against_baselines(found, ["rougeL"])}
    assert {name: one.n for name, one in tests.items()} == {**dict.fromkeys("ABDEFGH", 20), "C": 17}
    assert any(
        "Scored on other examples than the rest" in said and "C-v1" in said for said in Findings(found).sentences
    )


def test_a_score_that_is_not_a_number_is_no_score(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A", quality=0.9)])
    record = next(one for one in SweepFolder(folder).records() if one.config()["name"] == "A")
    identity = eval_id(SMALL)
    summary = record.summary(identity)
    assert summary
    lines = {split: record.predictions(identity, split) for split in SMALL.examples}
    lines["test"][4]["scores"]["rougeL"] = math.nan
    record.write_evaluation(SMALL, lines, summary)
    one = against_baselines(compare(folder), ["rougeL"])[0]
    assert one.n == 19
    assert all(math.isfinite(value) for value in (one.difference, one.low, one.high, one.p))


def test_the_frame_has_a_row_for_each_test(make_sweep: Make) -> None:
    found = compare(make_sweep(grid()))
    tests = against_baselines(found)
    table = frame(tests)
    assert len(table) == len(tests) == 8 * len(found.metrics)
    assert table["verdict"].tolist() == [one.verdict for one in tests]
    assert list(frame([]).columns) == list(table.columns)


@pytest.mark.parametrize("run_sd", [0.05, 0.0])
def test_the_mixed_model_gives_the_closed_form_of_complete_data(run_sd: float) -> None:
    draw = np.random.default_rng(0)
    shared, run_effects = draw.normal(0, 0.2, 24), draw.normal(0, 1, 6) * run_sd
    gains = np.array([0.05] * 3 + [0] * 3)
    values = 0.3 + shared + (run_effects + gains)[:, None] + draw.normal(0, 0.1, (6, 24))
    found = mixed_model.fit_crossed(values, [True] * 3 + [False] * 3)
    # Complete: the examples cancel, and the variance of a run's mean is that between runs of one system.
    means = values.mean(axis=1)
    between = (means[:3].var(ddof=1) + means[3:].var(ddof=1)) / 2
    rest = values - values.mean(axis=0) - means[:, None] + values.mean()
    residual = (rest**2).sum() / (5 * 23)
    assert found.by_statsmodels or not run_sd
    assert found.difference == pytest.approx(means[:3].mean() - means[3:].mean())
    if between > residual / 24:
        assert found.sd_runs == pytest.approx(math.sqrt(between - residual / 24), rel=0.02)
    else:
        between = (4 * between + 5 * 23 * residual / 24) / (4 + 5 * 23)
        assert found.sd_runs == pytest.approx(0, abs=0.01)
    assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(math.sqrt(between * 2 / 3), rel=0.02)
    assert found.sd_rest == pytest.approx(math.sqrt(residual), rel=0.02)


def test_the_mixed_model_is_for_replicates_alone(make_sweep: Make) -> None:
    assert mixed_model.against_baseline(compare(make_sweep([baseline(), configuration("A")]))) is None
    trials = [configuration("A", seed=seed, quality=0.6) for seed in (42, 43)]
    found = mixed_model.against_baseline(compare(make_sweep([baseline(), *trials])))
    assert found is not None
    assert (found.name, found.against, found.rows) == ("A", "zero-shot v1", 60)
