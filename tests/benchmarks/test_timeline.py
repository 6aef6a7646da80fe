"""Times of the whole from a part: they are those of a run whose course is known."""

from __future__ import annotations

import pytest

from benchmarks.timeline import Marks, extended_in_step, extended_in_turn, first_comparison, losses, measured_whole

LOAD_S, FIXED_S, STEP_S, TAIL_S = 10.0, 5.0, 2.0, 1.0


def evaluated(time: float, trial: int, step: int) -> dict[str, object]:
    return {"time": time, "event": "evaluated", "trial": trial, "step": step, "eval_loss": 1.0 / step}


def in_turn(trials: int, steps: int, lanes: int) -> tuple[Marks, float]:
    """Return the events of trials that run in lanes, and when the command ends."""
    marks: Marks = [{"time": LOAD_S, "event": "started", "trial": None}]
    end = 0.0
    for trial in range(trials):
        begin = LOAD_S + (trial // lanes) * (FIXED_S + steps * STEP_S)
        marks += [evaluated(begin + FIXED_S + step * STEP_S, trial, step) for step in range(4, steps + 1, 4)]
        end = begin + FIXED_S + steps * STEP_S
        marks.append({"time": end, "event": "ended", "trial": trial})
    return marks, end + TAIL_S


@pytest.mark.parametrize("lanes", [1, 2])
def test_trials_in_turn_extend_to_the_times_of_all_of_them(lanes: int) -> None:
    part, part_end = in_turn(lanes, 8, lanes)
    whole, whole_end = in_turn(8, 32, lanes)
    found = extended_in_turn(part, 0.0, part_end, 8, 32, lanes)
    expected = measured_whole(whole, 0.0, whole_end, 8)
    assert found.wall_s == pytest.approx(expected.wall_s)
    assert found.first_s == pytest.approx(expected.first_s)
    assert found.s_per_step == pytest.approx(STEP_S)
    assert found.extended
    assert not expected.extended


def in_step(adapters: int, steps: int) -> tuple[Marks, float]:
    """Return the events of adapters that are trained in a loop; the base is loaded first."""
    marks: Marks = [{"time": LOAD_S, "event": "started", "trial": None}]
    for step in range(4, steps + 1, 4):
        marks += [evaluated(LOAD_S + step * STEP_S * adapters, trial, step) for trial in range(adapters)]
    end = LOAD_S + steps * STEP_S * adapters
    return [*marks, {"time": end, "event": "ended", "trial": None}], end + TAIL_S


def test_adapters_in_a_loop_extend_with_their_number() -> None:
    part, part_end = in_step(2, 8)
    whole, whole_end = in_step(8, 32)
    found = extended_in_step(part, 0.0, part_end, 8, 32)
    expected = measured_whole(whole, 0.0, whole_end, 8)
    assert found.wall_s == pytest.approx(expected.wall_s)
    assert found.first_s == pytest.approx(expected.first_s)


def test_the_first_comparison_needs_every_trial() -> None:
    marks, _ = in_turn(2, 4, 1)
    assert first_comparison(marks, 0.0, 2) == LOAD_S + 2 * (FIXED_S + 4 * STEP_S)
    assert first_comparison(marks, 0.0, 3) is None
    assert losses(marks) == {(0, 4): 0.25, (1, 4): 0.25}
