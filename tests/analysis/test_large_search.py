"""The table of a search of 200 points is printed without torch or Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from searches_on_disk import LITTLE, drawn, space, trials_of, write_search
from sweeps_on_disk import configuration, evaluate, make_examples, write_trial

from trainables.config import TrialConfig
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.record import SweepFolder, TrialRecord
from trainables.scoring.metrics import signature

PRINT = """
import json, sys
from pathlib import Path
from analysis.format.terminal import results
from analysis.report import print_table
print_table(results(), Path(sys.argv[1]))
print(json.dumps(sorted({"torch", "ray", "transformers", "pandas", "matplotlib"} & set(sys.modules))))
"""


def large_search(folder: Path, count: int) -> Path:
    """Write a search whose points take turns with the texts of six: scoring them all is not what is measured."""
    one = space(trials=count)
    trials = trials_of(drawn(one, count))
    sweep = SweepFolder(write_search(folder, one, trials[:1]))
    examples = {split: make_examples(split, size) for split, size in LITTLE.examples.items()}
    made = []
    for quality in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8):
        scored = {
            split: evaluate(configuration("X", quality=quality), rows, LITTLE.metrics, split)
            for split, rows in examples.items()
        }
        splits = {split: summary for split, (_, summary) in scored.items()}
        summary = EvaluationSummary(signature=signature(LITTLE.metrics, LITTLE), decoding="greedy", splits=splits)
        made.append(({split: rows for split, (rows, _) in scored.items()}, summary))
    for place, trial in enumerate(trials[1:], start=3):
        train_id = TrialConfig(train=trial.train, evaluation=LITTLE).train_id
        record = TrialRecord(sweep.trials_folder / f"{place:03d}-{trial.label}-{train_id}")
        write_trial(record, place, replace(trial, evaluations=()), LITTLE, sweep)
        record.write_evaluation(LITTLE, *made[place % 6])
    return folder


@pytest.mark.slow
def test_its_best_rows_are_printed_without_torch_or_ray(tmp_path: Path) -> None:
    folder = large_search(tmp_path / "run", 200)
    done = subprocess.run([sys.executable, "-c", PRINT, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *lines, heavy = done.stdout.splitlines()
    assert json.loads(heavy) == []
    assert any("180 more of the 200 configurations" in line for line in lines)
    assert any("The search tried 200 points: 200 finished." in line for line in lines)
    assert len(lines) < 120
