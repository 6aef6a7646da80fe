#!/usr/bin/env bash
# Optuna 5.0.0, CMA-ES and NSGA-II told of points through `enqueue_trial`, `ask` and `tell`.
# Guess: an enqueued trial is asked for like any other, its values alone being replaced: it belongs to a generation, and
# the sampler learns from it.
# Seen: where all values are given the sampler is never asked, the trial has no generation, and neither sampler ever
# leaves its first one: a hundred told points change nothing. Reading the trial's `relative_params` asks it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0 cmaes==0.13.1
cd "$place"
"$place/venv/bin/python" - <<'PY'
import random
import sys
from importlib.metadata import version

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def generations(sampler, is_asked):
    draw = random.Random(1)
    study = optuna.create_study(sampler=sampler)
    for _ in range(100):
        study.enqueue_trial({"x": draw.random(), "y": draw.random()})
        trial = study.ask()
        if is_asked:
            trial.relative_params
        study.tell(trial, trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1))
    attributes = [value for one in study.trials for key, value in one.system_attrs.items() if "generation" in key]
    return len(set(attributes))


found = {}
for name, sampler in (
    ("CMA-ES", lambda: optuna.samplers.CmaEsSampler(seed=1)),
    ("NSGA-II", lambda: optuna.samplers.NSGAIISampler(population_size=10, seed=1)),
):
    found[name] = (generations(sampler(), False), generations(sampler(), True))
print("optuna", version("optuna"), "cmaes", version("cmaes"))
for name, (told, asked) in found.items():
    print(f"{name}: {told} generations of 100 enqueued trials, {asked} where relative_params was read")
sys.exit(not all(told == 0 and asked > 5 for told, asked in found.values()))
PY
