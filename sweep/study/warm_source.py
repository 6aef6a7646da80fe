"""The sweep that a search begins with: of the same task or refused, and what is said and kept of it (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from search_spaces.experiment import Experiment
from sweep.cli_support.command import existing_sweep
from sweep.study.study_trial import StudyTrial
from sweep.study.warm_start import warm_start
from trainables.config import eval_id
from trainables.errors import UserError


@dataclass(frozen=True)
class WarmSource:
    """What of another sweep a search can learn from, and how many trials not, by why."""

    sweep: str
    trials: tuple[StudyTrial, ...]
    left_out: dict[str, int]

    @property
    def sentence(self) -> str:
        total = len(self.trials) + sum(self.left_out.values())
        why = "".join(f"; {count}: {reason}" for reason, count in self.left_out.items())
        return f"warm start: {len(self.trials)} of {total} trials of {self.sweep} are used{why}"

    def as_json(self) -> dict[str, Any]:
        return {"sweep": self.sweep, "used": [trial.key for trial in self.trials], "left_out": self.left_out}


def check_warm_start(name: str | None, experiment: Experiment) -> None:
    """Raise UserError for a `--warm-start` without a search, or from what is no sweep."""
    if name is None:
        return
    if experiment.search is None:
        raise UserError(
            f"--warm-start {name} is for a search, and {experiment.name} is a grid: add --search auto --trials 24"
        )
    existing_sweep(name)


def warm_source(name: str, experiment: Experiment, models: Sequence[str | None], data: str | None) -> WarmSource:
    """Return what a sweep has for the search; `models` and `data` are fingerprints of what that stands on.

    Raises UserError for a sweep of another task.
    """
    other = existing_sweep(name)
    manifest = other.manifest()
    resolved = manifest.resolved
    for noun, own, there, labels in (
        ("model", list(models), [one.fingerprint for one in resolved.models], [one.label for one in resolved.models]),
        ("data", [data], [resolved.data.fingerprint], [resolved.data.label]),
    ):
        if own != there:
            raise UserError(
                f"--warm-start {name} is of another task: its {noun} {', '.join(labels)} is not that of this sweep"
            )
    found = warm_start(other, experiment)
    if not found.trials and manifest.eval_id != eval_id(experiment.evaluation):
        raise UserError(
            f"--warm-start {name} is of another task: none of its trials is evaluated as here; see --eval-examples, "
            "--decoding, --max-new-tokens and --metric"
        )
    return WarmSource(name, found.trials, found.left_out)
