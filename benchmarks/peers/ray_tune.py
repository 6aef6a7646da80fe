"""(a) Plain Ray Tune: a process per trial, which imports everything, loads the base, trains and evaluates."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from benchmarks.peers.job import Job, job_of_command, mark, tokenized_of
from benchmarks.peers.ray_session import start_ray


def trial(config: dict[str, Any], job: Job) -> None:
    """Run one configuration: the function that Tune calls in a process of its own."""
    index = int(config["index"])
    mark(job, "entered", index)
    import torch
    from ray import tune

    torch.set_num_threads(job.threads)
    from benchmarks.peers.trainer import load_model, train_one, with_adapter

    work = job.read_work()
    train = work.trials[index].train
    model = with_adapter(load_model(work, job), train)
    mark(job, "ready", index)

    def evaluated(step: int, loss: float) -> None:
        mark(job, "evaluated", index, step=step, eval_loss=loss)
        tune.report({"step": step, "eval_loss": loss})

    train_one(model, tokenized_of(job), train, job, evaluated)
    mark(job, "ended", index)


def main(job: Job) -> int:
    """Run the trials through Tune, `at_a_time` of them, each with its share of the cores or of the GPU."""
    folder, cores = start_ray()
    import ray
    from ray import tune

    class Ready(tune.Callback):
        """Tell when Tune is set up and begins with its trials."""

        said = False

        def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
            if not Ready.said:
                mark(job, "started")
                Ready.said = True

    share = {"cpu": cores / job.at_a_time} | ({"gpu": 1 / job.at_a_time} if job.device != "cpu" else {})
    results = tune.Tuner(
        tune.with_resources(tune.with_parameters(trial, job=job), share),
        param_space={"index": tune.grid_search(list(job.chosen))},
        tune_config=tune.TuneConfig(max_concurrent_trials=job.at_a_time),
        run_config=tune.RunConfig(storage_path=f"{job.folder}/tune", verbose=0, callbacks=[Ready()]),
    ).fit()
    for error in results.errors:
        print(error, file=sys.stderr)
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    return int(bool(results.errors))


if __name__ == "__main__":
    sys.exit(main(job_of_command()))
