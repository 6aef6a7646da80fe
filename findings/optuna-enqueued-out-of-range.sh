#!/usr/bin/env bash
# Optuna 5.0.0, a queued trial whose value its distribution does not hold.
# Guess: one rule for all kinds of parameters: refused, or clipped into the range.
# Seen: a float beyond the range, and an integer off its step, are used as they are with a warning, so that an
# objective is evaluated where the search space does not reach; a categorical value that is no choice raises.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0
cd "$place"
"$place/venv/bin/python" - <<'PY'
import sys
import warnings
from importlib.metadata import version

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def queued(value, suggest):
    study = optuna.create_study()
    study.enqueue_trial({"x": value})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return suggest(study.ask())
        except ValueError as error:
            return f"ValueError: {error}"


found = {
    "float 5.0 in [1e-5, 1e-3]": queued(5.0, lambda trial: trial.suggest_float("x", 1e-5, 1e-3, log=True)),
    "int 3 in 4, 8, 12, 16": queued(3, lambda trial: trial.suggest_int("x", 4, 16, step=4)),
    "3 among the choices 4, 8": queued(3, lambda trial: trial.suggest_categorical("x", [4, 8])),
}
print("optuna", version("optuna"))
for what, got in found.items():
    print(f"{what}: {got}")
seen = list(found.values())
sys.exit(not (seen[:2] == [5.0, 3] and str(seen[2]).startswith("ValueError")))
PY
