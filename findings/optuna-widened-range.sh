#!/usr/bin/env bash
# Optuna 5.0.0, a study by CMA-ES of which one range is made wider after twenty trials.
# Guess: the first trials in the wider range are drawn at random, as at the start, and CMA-ES goes on with those.
# Seen: it never samples again, neither that parameter nor those that stay as they were: 200 trials later each value
# is still drawn at random. Only parameters whose range is the same in all finished trials count, and with one fewer
# of those the state that is kept does not fit any more. A new study that is told the old trials is no way out either:
# the trials keep their range.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0 cmaes==0.13.1
cd "$place"
"$place/venv/bin/python" - <<'PY'
import sys
import warnings
from importlib.metadata import version

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")
BEFORE, AFTER, SETTLED = 20, 300, 220


class Counting(optuna.samplers.RandomSampler):
    def __init__(self):
        super().__init__(seed=0)
        self.drawn = {"x": [], "y": [], "z": []}

    def sample_independent(self, study, trial, name, distribution):
        self.drawn[name].append(trial.number)
        return super().sample_independent(study, trial, name, distribution)


def objective(high):
    def value(trial):
        x = trial.suggest_float("x", 0, high)
        return (x - 1.5) ** 2 + sum((trial.suggest_float(name, 0, 1) - 0.5) ** 2 for name in "yz")

    return value


def drawn_at_random(high, old=()):
    """Return, by parameter, how many of the trials from SETTLED on were drawn at random."""
    chance = Counting()
    study = optuna.create_study(sampler=optuna.samplers.CmaEsSampler(seed=0, independent_sampler=chance))
    study.add_trials(old)
    study.optimize(objective(1.0), n_trials=BEFORE - len(old))
    study.optimize(objective(high), n_trials=AFTER)
    return {name: sum(number >= SETTLED for number in numbers) for name, numbers in chance.drawn.items()}, study


same, unchanged = drawn_at_random(1.0)
wider, _ = drawn_at_random(2.0)
retold, _ = drawn_at_random(2.0, unchanged.trials[:BEFORE])
print("optuna", version("optuna"), "cmaes", version("cmaes"))
print(f"drawn at random, of the last {BEFORE + AFTER - SETTLED} trials:")
print("the range stays [0, 1]:     ", same)
print("[0, 1], then [0, 2]:        ", wider)
print("told the old ones as others:", retold)
sys.exit(not (set(same.values()) == {0} and set(wider.values()) == {100} == set(retold.values())))
PY
