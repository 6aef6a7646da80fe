"""The winner without its curse: bootstrap, costs, levels, metrics, and what is said of them."""

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
from analysis.findings import choice, winner
from analysis.findings.answer import answer
from analysis.findings.findings import Findings
from analysis.findings.sentences import conclusions
from analysis.statistics.winner_curse import resample_selection, spearman
from trainables.config import EvalConfig, eval_id
from trainables.records.record import SweepFolder

Make = Callable[..., Path]


def test_the_corrected_score_is_that_of_the_left_out_examples() -> None:
    values = systems(np.random.default_rng(0), 5, 30)
    found = resample_selection(values, resamples=300, seed=7)
    draw = np.random.default_rng([7, 30])
    worth, wins = [], np.zeros(5)
    for weights in draw.multinomial(30, np.full(30, 1 / 30), size=300):
        chosen = int(np.argmax(values @ weights))
        wins[chosen] += 1
        worth.append(values[chosen][weights == 0].mean())
    assert found.corrected == pytest.approx(np.mean(worth))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(worth, [2.5, 97.5])))
    assert found.frequencies == pytest.approx(wins / 300)
    assert found.raw == values.mean(axis=1).max()


def test_resampling_is_the_same_again_and_other_with_another_seed() -> None:
    values = systems(np.random.default_rng(0), 4, 25)
    assert resample_selection(values).corrected == resample_selection(values).corrected
    assert resample_selection(values).corrected != resample_selection(values, seed=1).corrected


def test_equal_configurations_share_their_wins_and_one_example_gives_no_answer() -> None:
    values = np.tile(np.random.default_rng(0).random(20), (4, 1))
    assert resample_selection(values).frequencies == pytest.approx([0.25] * 4)
    one = resample_selection(np.array([[0.5], [0.4]]))
    assert one.raw == 0.5
    assert math.isnan(one.corrected)


@pytest.mark.parametrize("decimals", [1, 8])
def test_rank_correlation_is_that_of_scipy(decimals: int) -> None:
    draw = np.random.default_rng(decimals)
    first, second = draw.random(12).round(decimals), draw.random(12).round(decimals)
    assert spearman(first, second) == pytest.approx(scipy_stats.spearmanr(first, second).statistic)
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))


def test_chosen_on_validation_and_reported_on_test(make_sweep: Make) -> None:
    found = compare(make_sweep(grid()))
    won = winner.winner(found)
    assert won
    assert found.best
    assert won.name == found.best.name
    assert won.raw == pytest.approx(found.best.selection)
    record = found.best.row.record
    assert record
    test = [row["scores"]["rougeL"] for row in record.predictions(eval_id(SMALL), "test")]
    interval = scipy_stats.ttest_1samp(test, 0).confidence_interval()
    assert won.estimate == pytest.approx(np.mean(test))
    assert (won.low, won.high) == pytest.approx((interval.low, interval.high))
    assert not won.is_same_set
    assert sum(row.share for row in won.frequencies) == pytest.approx(1)
    said = choice.sentences(found, won)[0]
    assert "which played no part in the choice" in said
    assert "optimistic" in said


def test_one_set_for_both_is_corrected_by_the_bootstrap(make_sweep: Make) -> None:
    found = compare(make_sweep(grid(), EvalConfig(validation_examples=0, test_examples=20)))
    findings = Findings(found)
    won = winner.winner(found)
    assert won
    assert won.is_same_set
    assert won.estimate == won.corrected < won.raw
    assert won.low < won.estimate < won.high
    assert "bias-corrected bootstrap" in choice.sentences(found, won)[0]
    assert any("the score of the best is optimistic" in said for said in conclusions(found))
    gain = f"optimistic by about {100 * won.optimism:.2f} points for having been chosen there."
    assert answer(findings)[0].endswith(gain)
    assert "; on these 20 it is " in answer(findings)[0]


def test_a_loss_is_optimistic_downward(make_sweep: Make) -> None:
    won = winner.winner(compare(make_sweep(grid(**{name: {"quality": 0.5} for name in "ABCDEFGH"})), "eval_loss"))
    assert won
    assert won.corrected > won.raw
    assert won.optimism == pytest.approx(won.corrected - won.raw)


def test_the_cheapest_within_one_standard_error_has_the_lowest_rank(make_sweep: Make) -> None:
    trials = [
        baseline(),
        configuration("A", rank=4, quality=0.1),
        configuration("B", rank=8, quality=0.6),
        configuration("C", rank=16, quality=0.6),
        configuration("D", rank=32, quality=0.62),
    ]
    found = compare(make_sweep(trials, EvalConfig(validation_examples=60, test_examples=20)))
    won = winner.winner(found)
    assert won
    assert won.cheapest
    names = [one.name for one in won.affordable]
    assert "A" not in names
    assert won.name in names
    assert [one.lora_rank for one in won.affordable] == sorted(one.lora_rank for one in won.affordable)
    assert all(-one.difference <= one.standard_error or one.name == won.name for one in won.affordable)
    assert won.cheapest.lora_rank == min(one.lora_rank for one in won.affordable)


def test_time_decides_between_adapters_of_one_size_and_memory() -> None:
    values = np.tile(np.random.default_rng(0).random(40), (3, 1))
    found = comparison({"test": values})
    fast, slow = found.ranking[1].row, found.ranking[0].row
    for row, seconds in ((slow, 90.0), (fast, 30.0)):
        row.values.update(trainable_parameters=1000, peak_memory_bytes=10**9, wall_s=seconds)
    won = winner.winner(found)
    assert won
    assert won.cheapest
    assert won.cheapest.name == fast.name
    assert f"Where cost counts keep {fast.name}" in " ".join(choice.sentences(found, won))


def test_a_moment_less_is_no_lower_cost() -> None:
    found = comparison({"test": np.tile(np.random.default_rng(0).random(40), (3, 1))})
    for row, seconds in zip((one.row for one in found.ranking), (221.73, 221.63), strict=True):
        row.values.update(trainable_parameters=1000, peak_memory_bytes=10**9, wall_s=seconds)
    won = winner.winner(found)
    assert won
    assert f"No cheaper configuration is within one standard error of {won.name}." in choice.sentences(found, won)


def test_every_other_configuration_is_compared_with_the_best(make_sweep: Make) -> None:
    folder = make_sweep(grid())
    found = compare(folder)
    assert found.best
    rows = winner.against_best(found)
    assert [one.name for one in rows] == [one.name for one in found.ranking[1:]]
    scores = {
        one.config()["name"]: [row["scores"]["rougeL"] for row in one.predictions(eval_id(SMALL), "test")]
        for one in SweepFolder(folder).records()
    }
    for one in rows:
        interval = scipy_stats.ttest_rel(scores[found.best.name], scores[one.name]).confidence_interval()
        assert (one.low, one.high) == pytest.approx((interval.low, interval.high))


def test_the_best_of_each_level_of_each_axis(make_sweep: Make) -> None:
    found = compare(make_sweep())
    order = [one.name for one in found.ranking]
    levels = {(one.axis, one.level): one for one in winner.best_per_level(found)}
    members = {("prompt", "v1"): "ABCD", ("prompt", "v2"): "EFGH", ("lora_rank", 8): "ABEF", ("lora_rank", 16): "CDGH"}
    members |= {("learning_rate", 5e-4): "ACEG", ("learning_rate", 2e-4): "BDFH"}
    assert {key: one.best for key, one in levels.items()} == {
        key: min(names, key=order.index) for key, names in members.items()
    }
    assert all(one.configurations == 4 for one in levels.values())


def test_metrics_that_disagree_are_said_to(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A", quality=0.8), configuration("B", rank=16, quality=0.5)])
    record = next(one for one in SweepFolder(folder).records() if one.config()["name"] == "A")
    summary = record.summary(eval_id(SMALL))
    assert summary
    for split in summary.splits.values():
        split["eval_loss"] = 9.0
    lines = {split: record.predictions(eval_id(SMALL), split) for split in SMALL.examples}
    record.write_evaluation(SMALL, lines, summary)
    found = compare(folder)
    rows = {(one.first, one.second): one for one in winner.metric_agreement(found)}
    assert rows["rougeL", "eval_loss"].spearman == pytest.approx(-1)
    assert rows["rougeL", "rouge1"].spearman == pytest.approx(1)
    assert winner.metric_winners(found)["eval_loss"] == "B"
    said = " ".join(Findings(found).sentences)
    assert "The winner changes with the metric: ROUGE-L A, evaluation loss B (rank correlation -1.00)." in said


def test_notes_say_what_a_row_is_and_what_became_of_it(make_sweep: Make) -> None:
    trials = grid(
        A={"quality": 0.0},
        B={"state": "oom", "cause": "12 GB"},
        C={"state": "stopped", "quality": 0.5},
        H={"quality": 1.0},
    )
    found = compare(make_sweep(trials))
    notes = Findings(found).notes
    assert notes["H"][0] == "best on validation (optimistic there)"
    assert "best ROUGE-1, ROUGE-2, ROUGE-Lsum, evaluation loss on validation" in notes["H"]
    assert "out of memory" in notes["B"]
    assert "stopped" in notes["C"]
    assert "below LEAD-3" in notes["A"]
    assert any("zero-shot" in note for note in notes["A"])
    assert set(notes) == set("ABCDEFGH")


def test_a_sweep_without_or_with_one_result_is_answered(make_sweep: Make) -> None:
    nothing = compare(make_sweep([]))
    assert (winner.winner(nothing), winner.against_best(nothing), winner.best_per_level(nothing)) == (None, (), ())
    assert Findings(nothing).sentences == []
    one = compare(make_sweep([baseline(), configuration("A")]))
    won = winner.winner(one)
    assert won
    assert (won.runner_up, won.difference, [row.share for row in won.frequencies]) == (None, None, [1.0])
    assert "the only candidate" in choice.sentences(one, won)[0]


def test_one_example_is_answered(make_sweep: Make) -> None:
    found = compare(
        make_sweep(
            [baseline(), configuration("A"), configuration("B", rank=16)],
            EvalConfig(validation_examples=1, test_examples=1),
        )
    )
    findings = Findings(found)
    assert findings.winner
    assert "no difference from a baseline could have been significant" in " ".join(findings.sentences)
    assert "nan" not in " ".join(findings.sentences)


def test_frames_hold_the_rows(make_sweep: Make) -> None:
    found = compare(make_sweep())
    assert winner.frame(winner.against_best(found))["name"].tolist() == [one.name for one in found.ranking[1:]]
    assert len(winner.frame(winner.best_per_level(found))) == 6
