"""(b) of a decision: Optuna's TPE with its median pruner, trial after trial in one process that loads the base once."""

from __future__ import annotations

import sys

from benchmarks.peers.job import Job, job_of_command, mark


def main(job: Job) -> int:
    """Ask for as many trials as there are configurations, also those that come twice, and name the best."""
    import optuna
    import torch

    torch.set_num_threads(job.threads)
    from benchmarks.peers.judged import judge
    from benchmarks.peers.trainer import load_model, with_adapter
    from benchmarks.project import AXES
    from trainables.modeling.peft_lora import detach

    work = job.read_work()
    axes = {name: list(dict.fromkeys(getattr(one.train, name) for one in work.trials)) for name in AXES}
    base = load_model(work, job)
    mark(job, "started")

    def objective(trial: optuna.Trial) -> float:
        nonlocal base
        asked = {name: trial.suggest_categorical(name, values) for name, values in axes.items()}
        index = next(
            number
            for number, one in enumerate(work.trials)
            if all(getattr(one.train, name) == value for name, value in asked.items())
        )
        trial.set_user_attr("index", index)
        mark(job, "entered", index)
        model = with_adapter(base, work.trials[index].train)

        def told(step: int, loss: float) -> None:
            trial.report(-loss, step)  # as the objective: more is better
            if trial.should_prune():
                raise optuna.TrialPruned

        try:
            return judge(model, job, index, told)[0]
        finally:
            base = detach(model)
            mark(job, "ended", index)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=job.seed),
        pruner=optuna.pruners.MedianPruner(),
    )
    study.optimize(objective, n_trials=len(job.chosen))
    mark(job, "chosen", study.best_trial.user_attrs["index"])
    return 0


if __name__ == "__main__":
    sys.exit(main(job_of_command()))
