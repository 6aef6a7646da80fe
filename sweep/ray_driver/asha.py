"""ASHA that goes on judging: whoever passed a rung by the luck of reporting early is stopped a report later."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import ASHAScheduler, TrialScheduler


class LastingASHA(ASHAScheduler):
    """Tune's ASHA, which lets a trial through a rung for ever; here it has to stay among the rung's best.

    Trials of a pack reach a rung together, in a chance order, and the first to report is let through whatever its loss:
    the worst of sixteen ran to its end. So at each report after a rung, what a trial had at that rung is compared with
    what all have had there by now.
    """

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision = str(super().on_trial_result(tune_controller, trial, result))
        if decision == TrialScheduler.STOP or self._is_among_the_best(trial.trial_id):
            return decision
        self._num_stopped += 1
        return str(TrialScheduler.STOP)

    def _is_among_the_best(self, trial_id: str) -> bool:
        """Tell whether a trial is still let through the highest rung that it has reached."""
        bracket = self._trial_info[trial_id]
        reached = next((recorded for _, recorded in bracket._rungs if trial_id in recorded), None)
        return reached is None or bool(reached[trial_id] >= bracket.cutoff(reached))
