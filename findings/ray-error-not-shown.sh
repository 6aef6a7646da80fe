#!/usr/bin/env bash
# An error that nobody catches in a Ray driver shows no traceback once Ray's store (the GCS) is gone: the driver is
# silent for a minute and then ends with a message about the store alone. ray.init replaces sys.excepthook by one that
# reports to the store before it prints.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0 psutil==7.2.2
cat > "$place/driver.py" <<'PYTHON'
import logging
import os

import psutil
import ray

ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, _temp_dir=os.environ["PLACE"] + "/r")
for child in psutil.Process().children():
    if child.name() == "gcs_server":
        child.kill()
        child.wait()
raise ValueError("my own mistake")
PYTHON
PLACE="$place" RAY_USAGE_STATS_ENABLED=0 "$place/venv/bin/python" - <<'PYTHON'
import os
import subprocess
import sys
import time

import ray

place = os.environ["PLACE"]
print(f"ray {ray.__version__}")
print("guess: raise ValueError('my own mistake') in the driver's main thread prints its traceback at once")
began = time.monotonic()
done = subprocess.run([sys.executable, f"{place}/driver.py"], capture_output=True, text=True, timeout=300)
took_s = time.monotonic() - began
print(f"seen:  exit {done.returncode} after {took_s:.0f} s, traceback shown: {'my own mistake' in done.stderr}")
print("       last line:", done.stderr.strip().splitlines()[-1][:150])
assert done.returncode == 1 and took_s > 50 and "my own mistake" not in done.stderr, done
assert "Failed to connect to GCS" in done.stderr, done.stderr
print("so the cause of a failed run is lost; sys.excepthook = sys.__excepthook__ after ray.init brings it back")
PYTHON
