"""A sweep that was finished here: every record as an engine writes it, without the minutes of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_inputs import write_data, write_model

from sweep.overrides import Changes, request
from sweep.prepare import Options, commit, prepare
from trainables import files
from trainables.data import example_of
from trainables.record import SweepFolder, TrialRecord
from trainables.rescore import scores_of, write

OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", train_examples=8)
experiment = Experiment("own", "", grid(base, lora_rank=[2, 4]), EvalConfig(validation_examples=6, test_examples=10))
"""


def make_place(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder` the current one, with a model, data and the experiment own.py, without a hub; and finish that."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.chdir(folder)
    write_model(folder / "model")
    write_data(folder / "data")
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    write_finished(folder)
    return folder


def write_finished(place: Path, out: str = "runs/own") -> Path:
    """Finish the experiment own.py in `place`, the current folder, and return the sweep's folder."""
    wanted = request("own.py", Changes())
    folder = SweepFolder(place / out)
    planned, _ = commit(prepare(wanted, Options(out=folder.folder, command="python -m sweep.run own.py")), folder)
    for number, trial in enumerate(planned):
        train = trial.trial.train
        record = TrialRecord(folder.trials_folder / trial.folder_name)
        weights = record.adapter_folder / "adapter_model.safetensors"
        if not train.is_baseline:
            for step in range(1, 5):
                record.append_metrics(
                    {"kind": "train", "step": step, "train_loss": 3 - step / 4, "learning_rate": 5e-4}
                )
                record.append_metrics({"kind": "eval", "step": step, "eval_loss": 3.5 - step / 4, "examples": 6})
            record.adapter_folder.mkdir()
            save_file({"a": np.full((2, 2), number, np.float32)}, weights)
            files.write_text(record.adapter_folder / "adapter_config.json", '{"base_model_name_or_path": "/x/model"}')
        predictions = {}
        for split, count in trial.trial.evaluation.examples.items():
            examples = [example_of(row) for row in files.read_lines(folder.evaluation_examples_path(split))[:count]]
            predictions[split] = []
            for example in examples:
                words = example.references[0].split()
                row = {"id": example.id, "text": " ".join(words[: 2 + 2 * number]), "new_tokens": 9, "ended": "eos"}
                row |= {"source_tokens_cut": 0, "nll": 20.0 - number, "nll_tokens": 10}
                row["scores"] = scores_of(row, example.references, trial.trial.evaluation)
                predictions[split].append(row)
        record.write_result(
            {
                "state": "done",
                "steps": train.max_steps,
                "trainable_parameters": 512,
                "total_parameters": 51_200,
                "adapter_bytes": weights.stat().st_size if weights.exists() else 0,
                "adapter_sha256": files.sha256_of(weights) if weights.exists() else None,
                "wall_s": 12.0,
            }
        )
        write(record, trial.trial.evaluation, predictions, 1.0)
    return folder.folder
