"""A planned sweep with every record as an engine writes it, without the minutes of training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from safetensors.numpy import save_file

from sweep.request.trials import PlannedTrial
from trainables.data.corpus import example_of
from trainables.records import atomic_files
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.scoring.rescore import write
from trainables.scoring.stored_lines import scores_of


def end_trials(folder: SweepFolder, planned: Sequence[PlannedTrial], said: str = "") -> None:
    """Write the end of every trial; its texts are the beginnings of the references, with `said` behind them."""
    for number, trial in enumerate(planned):
        train = trial.trial.train
        record = TrialRecord(folder.trials_folder / trial.folder_name)
        weights = record.adapter_folder / "adapter_model.safetensors"
        if not train.is_baseline:
            for step in range(1, 5):
                record.append_metrics({"kind": "train", "step": step, "train_loss": 3 - step / 4, "grad_norm": 0.5})
                record.append_metrics({"kind": "eval", "step": step, "eval_loss": 3.5 - step / 4, "examples": 6})
            record.adapter_folder.mkdir()
            save_file({"a": np.full((2, 2), number, np.float32)}, weights)
            atomic_files.write_text(
                record.adapter_folder / "adapter_config.json", '{"base_model_name_or_path": "/x/model"}'
            )
        predictions = {}
        for split, count in trial.trial.evaluation.examples.items():
            examples = [
                example_of(row) for row in atomic_files.read_lines(folder.evaluation_examples_path(split))[:count]
            ]
            predictions[split] = []
            for example in examples:
                words = example.references[0].split()
                row = {"id": example.id, "text": " ".join(words[: 2 + 2 * number]) + said, "new_tokens": 9}
                row |= {"ended": "eos", "source_tokens_cut": 0, "nll": 20.0 - number, "nll_tokens": 10}
                row["scores"] = scores_of(row, example.references, trial.trial.evaluation)
                predictions[split].append(row)
        record.write_result(
            TrialResult(
                state="done",
                steps=train.max_steps,
                trainable_parameters=512,
                total_parameters=51_200,
                adapter_bytes=weights.stat().st_size if weights.exists() else 0,
                adapter_sha256=atomic_files.sha256_of(weights) if weights.exists() else None,
                wall_s=12.0,
            )
        )
        write(record, trial.trial.evaluation, predictions, 1.0)
