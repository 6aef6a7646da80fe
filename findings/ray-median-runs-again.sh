#!/usr/bin/env bash
# Ray Tune 2.60.0, MedianStoppingRule over a function that reports losses and keeps no checkpoint, four trials, two at a
# time.
# Guess: the rule stops trials below the median and lets the others run: no trial runs a step twice.
# Seen: while fewer than three trials have got as far it pauses whoever reports, so that a waiting one can start, and a
# paused function without a checkpoint begins again at its first step. Without a word the steps are run and paid twice;
# min_time_slice=float("inf") turns that off.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check "ray[tune]==2.60.0"
cd "$place"
PLACE="$place" RAY_USAGE_STATS_ENABLED=0 "$place/venv/bin/python" - <<'PY'
import collections
import logging
import os
import sys

import ray
from ray import tune
from ray.tune.schedulers import MedianStoppingRule

place = os.environ["PLACE"]
STEPS = 4


def steps_run(name, **options):
    """Return how often each trial ran each step."""

    def trial(config):
        for step in range(1, STEPS + 1):
            with open(f"{place}/{name}", "a") as file:
                file.write(f"{config['index']} {step}\n")
            tune.report({"step": step, "loss": 1 / (1 + config["index"])})

    rule = MedianStoppingRule(time_attr="step", metric="loss", mode="min", grace_period=2, **options)
    tune.Tuner(
        trial,
        param_space={"index": tune.grid_search(list(range(4)))},
        tune_config=tune.TuneConfig(max_concurrent_trials=2, scheduler=rule),
        run_config=tune.RunConfig(storage_path=f"{place}/tune", verbose=0),
    ).fit()
    with open(f"{place}/{name}") as file:
        return collections.Counter(file.read().splitlines())


ray.init(
    address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
    _temp_dir=f"{place}/r",
)
default, sliced = steps_run("default"), steps_run("sliced", min_time_slice=float("inf"))
print("ray", ray.__version__)
print(f"by default: {default.total()} steps run, {len(default)} of them different; the most of one: {max(default.values())}")
print(f"min_time_slice=inf: {sliced.total()} steps run, {len(sliced)} of them different")
ray.shutdown()
sys.exit(not (max(default.values()) > 1 and max(sliced.values()) == 1))
PY
