#!/usr/bin/env bash
# ray.init(_temp_dir=FOLDER) opens an existing folder of 0700 to everybody (0777), with its session's logs below it.
# Only a folder around it keeps others out: the mode of the folder that is given does not last.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check ray==2.60.0
PLACE="$place" RAY_USAGE_STATS_ENABLED=0 "$place/venv/bin/python" - <<'PYTHON'
import logging
import os
import stat
from pathlib import Path

import ray

print(f"ray {ray.__version__}")
print("guess: a folder that I made for myself (0700) and give as _temp_dir stays mine alone")
folder = Path(os.environ["PLACE"]) / "r"
folder.mkdir(mode=0o700)
ray.init(address="local", num_cpus=1, include_dashboard=False, logging_level=logging.ERROR, _temp_dir=str(folder))
[session] = [path for path in folder.glob("session_*") if not path.is_symlink()]
modes = {path.name.split("_")[0]: oct(stat.S_IMODE(path.stat().st_mode)) for path in (folder, session, session / "logs")}
ray.shutdown()
print(f"seen:  modes of the folder, its session and its logs: {modes}")
assert modes == {"r": "0o777", "session": "0o777", "logs": "0o777"}, modes
print("so on a machine that is shared the logs of a session, which may hold its environment, can be read by others")
PYTHON
