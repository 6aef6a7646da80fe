"""Small models with trained weights learn on real texts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from engine_inputs import REAL, engine_of, evaluation_of, record_of, trial

from trainables.jobs import TrialJob, go_on, no_report
from trainables.records.record import SweepFolder


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")
@pytest.mark.parametrize("name", ["stories260K-llama", "dialogue-7M-gpt2"])
def test_a_real_model_learns_on_real_dialogues(tmp_path: Path, name: str) -> None:
    sweep = SweepFolder(tmp_path / "sweep")
    for path, split, count in (
        (sweep.train_examples_path(42), "train", 16),
        (sweep.evaluation_examples_path("validation"), "val", 8),
        (sweep.evaluation_examples_path("test"), "test", 4),
    ):
        chats = json.loads((REAL / "samsum" / f"{split}.json").read_text(encoding="utf-8"))
        short = [chat for chat in chats if 0 < len(chat["dialogue"]) < 400][:count]
        rows = [{"id": c["id"], "source": c["dialogue"], "references": [c["summary"]]} for c in short]
        sweep.write_examples(path, rows)
    targets = ("c_attn",) if "gpt2" in name else ("q_proj", "v_proj")
    one = trial(
        evaluation_of(16, validation=8), target_modules=targets, max_length_tokens=512, max_steps=8, lora_rank=8
    )
    record, job = record_of(sweep, one)
    engine = engine_of(sweep, REAL / "models" / name)
    engine.preflight([one])
    result = engine.run(job, no_report, go_on)
    assert result.state == "done", result.cause
    curve = [row["eval_loss"] for row in record.metrics() if row["kind"] == "eval"]
    assert curve[-1] < curve[0]
    assert isinstance(job, TrialJob)
