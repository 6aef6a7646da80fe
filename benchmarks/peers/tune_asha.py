"""(a) of a decision: plain Ray Tune with ASHA, a process per trial, texts at the end of those that ASHA leaves."""

from __future__ import annotations

import shutil
import sys
from typing import Any

from benchmarks.peers.job import Job, job_of_command, mark
from benchmarks.peers.ray_session import start_ray


def trial(config: dict[str, Any], job: Job) -> None:
    """Run one configuration: the function that Tune calls in a process of its own."""
    index = int(config["index"])
    mark(job, "entered", index)
    import torch
    from ray import tune

    torch.set_num_threads(job.threads)
    from benchmarks.peers.judged import judge
    from benchmarks.peers.trainer import load_model, with_adapter

    work = job.read_work()
    model = with_adapter(load_model(work, job), work.trials[index].train)
    mark(job, "ready", index)
    points, loss = judge(model, job, index, lambda step, loss: tune.report({"step": step, "eval_loss": loss}))
    mark(job, "ended", index)
    tune.report({"step": job.steps, "eval_loss": loss, "rougeL": points})


def main(job: Job) -> int:
    """Run the trials through Tune, `at_a_time` of them, and name the one whose texts are the best."""
    folder, cores = start_ray()
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from benchmarks.peers.judged import REDUCTION, RUNGS

    mark(job, "started")
    results = tune.Tuner(
        tune.with_resources(tune.with_parameters(trial, job=job), {"cpu": cores / job.at_a_time}),
        param_space={"index": tune.grid_search(list(job.chosen))},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=job.at_a_time,
            scheduler=ASHAScheduler(
                time_attr="step",
                metric="eval_loss",
                mode="min",
                max_t=job.steps,
                grace_period=min(RUNGS, job.steps),
                reduction_factor=REDUCTION,
            ),
        ),
        run_config=tune.RunConfig(storage_path=f"{job.folder}/tune", verbose=0),
    ).fit()
    for error in results.errors:
        print(error, file=sys.stderr)
    judged = [one for one in results if one.metrics and "rougeL" in one.metrics]
    if judged:
        mark(job, "chosen", max(judged, key=lambda one: one.metrics["rougeL"]).config["index"])
    ray.shutdown()
    shutil.rmtree(folder, ignore_errors=True)
    return int(bool(results.errors))


if __name__ == "__main__":
    sys.exit(main(job_of_command()))
