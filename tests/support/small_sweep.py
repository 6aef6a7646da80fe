"""A sweep's folder with a tiny real model and a small data set, ready to launch; run as a script it launches it.

As a script it is a driver that tests can signal and kill: `python small_sweep.py FOLDER '{"trials": [...], ...}'`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from tiny_inputs import record, write_model

from sweep.environment.lease import acquire
from sweep.ray_driver.launch import LaunchOptions, launch
from trainables.config import EvalConfig, TrainConfig, TrialConfig
from trainables.jobs import EngineSetup, TrialJob
from trainables.prompts import PROMPTS
from trainables.records.atomic_files import write_lines
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
EVALUATION = EvalConfig(validation_examples=4, test_examples=4, max_new_tokens=8)
BASE = {"model": "tiny", "data": "small", "prompt_template": PROMPTS["v1"], "train_examples": 8, "precision": "fp32"}

STARTED: list[subprocess.Popen[str]] = []  # drivers that a test has begun


def write_sweep(out: Path, trials: list[dict[str, Any]]) -> tuple[SweepFolder, list[TrialJob], EngineSetup]:
    """Write records of `trials` (fields of TrainConfig, no steps: a baseline) and their data, once."""
    folder = SweepFolder(out)
    model = out.parent / "tiny-model"
    if not model.exists():
        write_model(model)
    if not folder.sweep_path.exists():
        rows = [row_of(number) for number in range(40)]
        write_lines(folder.train_examples_path(42), rows[:20])
        write_lines(folder.evaluation_examples_path("validation"), rows[20:30])
        write_lines(folder.evaluation_examples_path("test"), rows[30:])
        folder.write_manifest(SweepManifest(command="python -m sweep.run again"))
    jobs = []
    for index, fields in enumerate(trials):
        trial = TrialConfig(train=TrainConfig(**{**BASE, **fields}), evaluation=EVALUATION)
        name = "zero-shot" if trial.train.is_baseline else chr(ord("A") + index)
        label = "zero-shot-v1" if trial.train.is_baseline else f"{name}-lr{trial.train.learning_rate:g}"
        path = folder.trials_folder / f"{index:03d}-{label}-{trial.train_id}"
        if not path.exists():
            TrialRecord(path).write_config(trial, index, name, label)
        jobs.append(TrialJob(str(path), trial))
    return folder, jobs, EngineSetup(str(out), {"tiny": str(model)}, threads=1)


def title(process: psutil.Process) -> str:
    """Return the command line of a process, empty where it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def row_of(number: int) -> dict[str, Any]:
    """Return one example as a sweep keeps it."""
    one = record(number)
    return {"id": one["id"], "source": one["dialogue"], "references": [one["summary"]]}


def start(out: Path, trials: list[dict[str, Any]], **options: Any) -> subprocess.Popen[str]:
    """Start a driver in a process group of its own, its output in `<out>.log`."""
    plan = json.dumps({"trials": trials, "options": options})
    home = out.parent / "home"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join([str(ROOT), str(HERE)])}
    with out.with_suffix(".log").open("a") as log:
        process = subprocess.Popen(
            [sys.executable, str(HERE / "small_sweep.py"), str(out), plan],
            stdout=log, stderr=log, text=True, start_new_session=True, env=environment, cwd=out.parent,
        )  # fmt: skip
    STARTED.append(process)
    return process


def kill_started() -> None:
    """Kill the drivers that are still there, as where a test failed before it ended its own; engines follow theirs."""
    for process in STARTED:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    STARTED.clear()


def output(out: Path) -> str:
    return out.with_suffix(".log").read_text()


def result_of(record: TrialRecord) -> TrialResult:
    """Return the result of a trial that has one."""
    result = record.result()
    assert result is not None
    return result


def states(out: Path) -> dict[str, str]:
    """Return the state of every trial by the first part of its label."""
    found = {}
    for one in SweepFolder(out).records():
        result = one.result()
        found[one.config()["name"]] = result.state if result else "pending"
    return found


def main() -> int:
    out, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
    lease = acquire(out)
    folder, jobs, setup = write_sweep(out, plan["trials"])
    folder = SweepFolder(out, lease.fence)
    outcome = launch(folder, lease, jobs, setup, LaunchOptions(**plan["options"]))
    lease.release()
    print(outcome.status, outcome.unfinished)
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
