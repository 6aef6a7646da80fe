#!/usr/bin/env bash
# Optuna 5.0.0 with optuna-dashboard 0.21.0, a constraint that `Trial.set_constraint` was told is violated.
# Guess: the dashboard shows the trial as infeasible, since both are of the same makers and it asks for optuna>=3.6.
# Seen: it shows the trial without a constraint, as a feasible one. It reads the list that Optuna kept up to 4.9 under
# "constraints"; set_constraint keeps each constraint under a key of its own. A list is read by both. The best trial of
# its JSON is found by value alone either way, where Optuna's `best_trial` is a feasible one.
set -euo pipefail
place=$(mktemp -d)
trap 'kill "${served:-}" 2>/dev/null || true; rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check optuna==5.0.0 optuna-dashboard==0.21.0
cd "$place"
"$place/venv/bin/python" - <<'PY'
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(storage="sqlite:///study.db", study_name="study", direction="maximize")
for value, violated in ((1.0, -1.0), (2.0, 1.0)):
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.set_constraint("fits", violated)
    study.tell(trial, value)
old = {"constraints": [1.0]}
study.add_trial(optuna.trial.create_trial(value=3.0, system_attrs=old))
print("optuna: constraints", [trial.constraints for trial in study.trials], "best", study.best_trial.number)
assert study.best_trial.number == 0
PY
port=$("$place/venv/bin/python" -c "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); print(s.getsockname()[1])")
"$place/venv/bin/optuna-dashboard" --host 127.0.0.1 --port "$port" sqlite:///study.db >"$place/log" 2>&1 &
served=$!
"$place/venv/bin/python" - "$port" <<'PY'
import json
import sys
import time
import urllib.request

url = f"http://127.0.0.1:{sys.argv[1]}/api/studies/1?after=0"
for _ in range(120):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.load(answer)
        break
    except OSError:
        time.sleep(0.5)
shown = [trial["constraints"] for trial in found["trials"]]
best = [trial["number"] for trial in found["best_trials"]] if "best_trials" in found else "by its page"
print("optuna-dashboard: constraints", shown, "best", best)
sys.exit(shown != [[], [], [1.0]])
PY
