"""The whole report of a large sweep: within its memory, without torch or ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sweeps_on_disk import baseline, configuration, evaluate, make_examples, write_sweep, write_trial

from trainables.config import EvalConfig, TrialConfig
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import SweepFolder, TrialRecord
from trainables.scoring.metrics import signature

MEASURE = """
import json, resource, sys
from pathlib import Path
from analysis.compare import compare
from analysis.findings.findings import Findings
from analysis.report import write_comparison, write_page
findings = Findings(compare(Path(sys.argv[1])))
page = write_page(Path(sys.argv[1]), findings=findings)
write_comparison(findings)
used = resource.getrusage(resource.RUSAGE_SELF)
status = Path("/proc/self/status")  # of this program alone: the most of getrusage is its parent's at the fork
lines = status.read_text().splitlines() if status.exists() else []
peak_kib = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), used.ru_maxrss)
print(json.dumps({
    "peak_bytes": 1024 * peak_kib, "is_new": page.is_new,
    "heavy": sorted({"torch", "ray", "transformers"} & set(sys.modules)),
}))
"""


def large_sweep(folder: Path, trials: int, examples: int) -> Path:
    """Write a sweep whose trials take turns with the texts of four: scoring them all is not what is measured."""
    evaluation = EvalConfig(validation_examples=50, test_examples=examples)
    write_sweep(folder, [baseline()], evaluation)
    sweep = SweepFolder(folder)
    rows = {split: make_examples(split, count) for split, count in evaluation.examples.items()}
    sweep.write_examples(sweep.evaluation_examples_path("test"), rows["test"])
    made = []
    for quality in (0.4, 0.5, 0.6, 0.7):
        trial = configuration("X", quality=quality)
        texts = {split: evaluate(trial, found, evaluation.metrics, split) for split, found in rows.items()}
        splits = {split: summary for split, (_, summary) in texts.items()}
        made_by = signature(evaluation.metrics, evaluation)
        summary = EvaluationSummary(signature=made_by, decoding="greedy", splits=splits)
        made.append(({split: lines for split, (lines, _) in texts.items()}, summary))
    for place in range(1, trials + 1):
        one = configuration(f"C{place}", rank=1 + place % 64, rate=1e-4 * (1 + place // 64), evaluations=())
        train_id = TrialConfig(train=one.train, evaluation=evaluation).train_id
        record = TrialRecord(sweep.trials_folder / f"{place:03d}-{one.label}-{train_id}")
        write_trial(record, place, one, evaluation, sweep)
        record.write_evaluation(evaluation, *made[place % 4])
        for step in range(1, 9):
            record.append_metrics({"kind": "eval", "step": 4 * step, "eval_loss": 3 - 0.1 * step, "examples": 50})
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("trials", "examples"), [(64, 500), (1000, 100)])
def test_a_large_sweep_is_reported_in_little_memory_without_torch(tmp_path: Path, trials: int, examples: int) -> None:
    folder = large_sweep(tmp_path / "run", trials, examples)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    used = json.loads(done.stdout)
    assert used["is_new"]
    assert used["heavy"] == []
    assert used["peak_bytes"] < 2**30
