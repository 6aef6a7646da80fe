"""`python -m benchmarks.light`: processor seconds of what runs before torch and Ray: plans, refusals, scores, reports.

Processor time, since a clock's depends on what else runs; each line is the median of several processes. These were once
tests with a limit, which says more of the processor than of the code.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import output
from sweep.cli_support import command
from sweep.cli_support.options import JsonOption
from trainables.errors import UserError

PLAN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from sweep.request.trials import plan_trials
from trainables.config import EvalConfig, TrainConfig
many = Experiment("many", "", grid(TrainConfig(model="gpt2", data="samsum"), seed=range(25), lora_rank=range(1, 41)),
    EvalConfig())
start()
assert len(plan_trials(many)) == 1001
"""
PLAN_VERB = """
from sweep.cli import main
start(loads=True)
assert main(["plan", "grid_2x2x2", "--source", "bundled", "seed=" + ",".join(map(str, range(125)))]) == 0
"""
REFUSAL = """
from sweep.cli import main
start(loads=True)
assert main(["plan", "grid_2x2x2", "lora_rank=0"]) == 2
"""
SCORES = """
import random
from trainables.scoring.metrics import score
words = [f"w{number}" for number in range(200)]
draw = random.Random(3)
pairs = [(" ".join(draw.choices(words, k=60)), " ".join(draw.choices(words, k=22))) for _ in range(192)]
score("warm up", ["the imports"])
start()
for prediction, reference in pairs:
    score(prediction, [reference])
"""
PROGRAM = """
import contextlib, io, json, sys, time
began = 0.0
def start(loads=False):
    global began
    began = 0.0 if loads else time.process_time()
out = io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
    exec(sys.stdin.read())
heavy = sorted({"torch", "ray", "transformers"} & set(sys.modules))
print(json.dumps({"cpu_s": time.process_time() - began, "heavy": heavy}))
"""


def light(
    sweep: Annotated[Path | None, typer.Option("--sweep", help="A finished sweep whose comparison to time.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Processes of each line.")] = 5,
    results: output.ResultsOption = output.RESULTS,
    as_json: JsonOption = False,
) -> int:
    """Time what a user waits for before anything heavy loads."""
    output.positive("--repeats", repeats)
    measured = {
        "1,000 configurations planned": PLAN,
        "sweep plan of 1,000 configurations, start of Python included": PLAN_VERB,
        "a wrong value refused, start of Python included": REFUSAL,
        "192 texts of 60 words scored": SCORES,
    }
    if sweep is not None:
        if not (sweep / "sweep.json").is_file():
            raise UserError(f"--sweep must be a sweep's folder, got {str(sweep)!r}")
        measured[f"comparison of {sweep.name}, start of Python included"] = (
            f"from analysis.compare import compare\nfrom pathlib import Path\nstart(loads=True)\n"
            f"compare(Path({str(sweep)!r}))"
        )
        measured[f"table of {sweep.name} printed, start of Python included"] = (
            f"from analysis.format.terminal import results\nfrom analysis.report import print_table\n"
            f"from pathlib import Path\nstart(loads=True)\nprint_table(results(), Path({str(sweep)!r}))"
        )
    rows = {title: _measure(title, program, repeats) for title, program in measured.items()}
    lines = [
        [title, f"{found['median_s']:.2f}", f"{found['most_s']:.2f}", ", ".join(found["heavy"]) or "none"]
        for title, found in rows.items()
    ]
    title = f"Processor seconds, median and most of {repeats} processes"
    table = output.table(title, ("what", "median", "most", "heavy imports"), lines)
    device = output.device_of("cpu", "pocket")
    output.publish(output.Findings("light", [table], {"rows": rows}), device, results, as_json)
    return command.DONE


def _measure(title: str, program: str, repeats: int) -> dict[str, Any]:
    command.note(f"measuring: {title}", style="dim")
    found = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], input=program, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise UserError(f"{title}: {done.stderr.strip().splitlines()[-1]}")
        found.append(json.loads(done.stdout))
    times = [one["cpu_s"] for one in found]
    return {"median_s": statistics.median(times), "most_s": max(times), "heavy": found[0]["heavy"]}


app = command.app(light)

if __name__ == "__main__":
    sys.exit(command.execute(app, "benchmarks.light"))
