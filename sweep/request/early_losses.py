"""When early losses cannot be compared, which early stopping does, and what makes them comparable (no torch)."""

from __future__ import annotations

from collections.abc import Iterable

from trainables.config import TrainConfig

EARLY_STOPPING = ("asha", "median")


def early_loss_note(trains: Iterable[TrainConfig], is_search: bool) -> str | None:
    """Say why losses of trials that are stopped early tell less than they seem to; None where they do not mislead.

    Trials are judged at equal optimizer steps. Where the learning rate decays to zero at max_steps, those are equal
    parts of the decay for equal max_steps alone. A search also ranks what was stopped by its last loss, beside others
    at other steps.
    """
    trained = [train for train in trains if not train.is_baseline]
    decays = sorted({train.schedule for train in trained} - {"constant"})
    steps = sorted({train.max_steps for train in trained})
    if not decays or not (is_search or len(steps) > 1):
        return None
    schedule = " and ".join(f"schedule={name}" for name in decays)
    decay = f"{schedule} decay{'s' if len(decays) == 1 else ''} to zero at max_steps"
    if len(steps) > 1:
        why = (
            f"which is {steps[0]} to {steps[-1]} here: losses at one step are of different parts of the decay and "
            "not comparable, and early stopping favours short trials"
        )
    else:
        why = (
            "so a loss at which a trial is stopped is of a rate that is still high, and not comparable with the loss "
            "of another budget"
        )
    return f"{decay}, {why}; schedule=constant makes early losses comparable"
