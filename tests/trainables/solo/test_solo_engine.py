"""A trial from its record to its result: continued exactly, stopped, failed, and never trained twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import engine_of, evaluation_of, record_of, train_losses, trial, write_model, write_sweep
from packs import packed_engine
from waiting import wait_until

from trainables.config import TrialConfig
from trainables.jobs import EngineSetup, Interrupted, TrialReport, go_on, no_report
from trainables.records import atomic_files
from trainables.records.checkpoint import latest_checkpoint
from trainables.records.record import SweepFolder, TrialRecord
from trainables.solo.engine import SoloEngine

LONG = {"max_steps": 8, "lora_dropout": 0.2, "warmup_steps": 2, "schedule": "cosine", "weight_decay": 0.01}
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return write_sweep(tmp_path / "sweep")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[TrialRecord, dict[str, Any]]:
    """One whole run of the trial that the others part."""
    sweep = write_sweep(tmp_path_factory.mktemp("whole") / "sweep")
    record, job = record_of(sweep, trial(**LONG))
    return record, engine_of(sweep, model).run(job, no_report, go_on)


def same_trial(record: TrialRecord, whole: TrialRecord, one: TrialConfig) -> None:
    """All that is not a timing must be the same to the last bit."""

    def curves(of: TrialRecord) -> list[dict[str, Any]]:
        return [{key: value for key, value in row.items() if key != "time_s"} for row in of.metrics()]

    assert curves(record) == curves(whole)
    for split in one.evaluation.examples:
        assert record.predictions(one.eval_id, split) == whole.predictions(one.eval_id, split)
    left, right = record.result(), whole.result()
    assert left is not None
    assert right is not None
    for key in ("state", "kept_step", "train_loss", "adapter_sha256", "tokens_trained", "steps", "adapter_bytes"):
        assert getattr(left, key) == getattr(right, key), key


def test_a_trial_ends_with_a_record_that_holds_everything(uninterrupted: tuple[TrialRecord, dict[str, Any]]) -> None:
    record, result = uninterrupted
    of_the_record = ("schema", "journals", "adapter_files")
    kept = atomic_files.read_json(record.result_path)
    assert result.content() == {key: value for key, value in kept.items() if key not in of_the_record}
    assert (result.state, result.steps, result.kept_step, result.restarts) == ("done", 8, 8, 0)
    assert result.trainable_parameters == 2 * 4 * (32 + 96)
    assert result.adapter_sha256 == atomic_files.sha256_of(record.adapter_folder / "adapter_model.safetensors")
    kinds = [(row["kind"], row["step"]) for row in record.metrics()]
    assert [step for kind, step in kinds if kind == "train"] == list(range(1, 9))
    assert [step for kind, step in kinds if kind == "eval"] == [2, 4, 6, 8]
    rates = [row["learning_rate"] for row in record.metrics() if row["kind"] == "train"]
    assert rates[:3] == pytest.approx([0, 2.5e-3, 5e-3])
    assert all(row["grad_norm"] > 0 for row in record.metrics() if row["kind"] == "train")
    assert result.tokens_trained == sum(row["tokens"] for row in record.metrics() if row["kind"] == "train")
    assert not record.checkpoint_folder.exists()
    assert result.peak_memory_bytes > 10_000_000
    suffixes = {path.suffix for path in record.folder.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".jsonl", ".safetensors"}


@pytest.mark.parametrize("step", [3, 4, 8])
def test_an_interrupted_trial_continues_to_the_same_bits(
    sweep: SweepFolder, model: Path, uninterrupted: tuple[TrialRecord, dict[str, Any]], step: int
) -> None:
    one = trial(**LONG)
    record, job = record_of(sweep, one)

    def control() -> Any:
        return "interrupt" if len(train_losses(record)) >= step else "go"

    engine = engine_of(sweep, model)
    with pytest.raises(Interrupted):
        engine.run(job, no_report, control)
    checkpoint = latest_checkpoint(record)
    assert checkpoint is not None
    assert checkpoint.step == step
    assert record.result() is None
    torch.manual_seed(step)  # the process's random state must not matter
    reports: list[TrialReport] = []
    assert engine.run(job, reports.append, go_on).restarts == 1
    same_trial(record, uninterrupted[0], one)
    evaluated = [(one.step, one.recorded) for one in reports if one.phase == "train"]
    assert evaluated == [(at, at < step) for at in (2, 4, 6, 8)]  # what was due when the order came is made now


@pytest.mark.slow
def test_a_killed_trial_continues_to_the_same_bits(
    sweep: SweepFolder, model: Path, uninterrupted: tuple[TrialRecord, dict[str, Any]]
) -> None:
    one = trial(**LONG)
    record, job = record_of(sweep, one)
    code = (
        "import sys, json, time; sys.path[:0] = sys.argv[1:3]\n"
        "from engine_inputs import *\n"
        "from trainables.jobs import go_on\n"
        "one = TrialConfig.model_validate_json(sys.argv[5])\n"
        "def slow():\n"
        "    time.sleep(0.05)\n"
        "    return 'go'\n"
        "sweep = SweepFolder(Path(sys.argv[3]))\n"
        "engine_of(sweep, Path(sys.argv[4])).run(record_of(sweep, one)[1], lambda row: None, slow)\n"
    )
    here = str(ROOT / "tests" / "support")
    arguments = [str(ROOT), here, str(sweep.folder), str(model), one.model_dump_json()]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    wait_until(lambda: process.poll() is not None or len(train_losses(record)) >= 5, 120)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert record.result() is None
    engine_of(sweep, model).run(job, no_report, go_on)
    same_trial(record, uninterrupted[0], one)


@pytest.mark.parametrize("name", ["optimizer.safetensors", "state.json"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_continues(
    sweep: SweepFolder, model: Path, uninterrupted: tuple[TrialRecord, dict[str, Any]], name: str
) -> None:
    one = trial(**LONG)
    record, job = record_of(sweep, one)
    with pytest.raises(Interrupted):
        engine_of(sweep, model).run(job, no_report, lambda: "interrupt" if len(train_losses(record)) >= 5 else "go")
    last = record.checkpoint_folder / "step-00005"
    content = bytearray((last / name).read_bytes())
    content[len(content) // 2] ^= 1
    (last / name).write_bytes(bytes(content))
    checkpoint = latest_checkpoint(record)
    assert checkpoint is not None
    assert checkpoint.step == 4
    assert (record.checkpoint_folder / "step-00005.damaged").is_dir()
    engine_of(sweep, model).run(job, no_report, go_on)
    same_trial(record, uninterrupted[0], one)


def test_a_stopped_trial_keeps_and_evaluates_what_there_is(sweep: SweepFolder, model: Path) -> None:
    one = trial(**LONG)
    record, job = record_of(sweep, one)
    engine = engine_of(sweep, model)
    result = engine.run(job, no_report, lambda: "stop" if len(train_losses(record)) >= 3 else "go")
    assert (result.state, result.steps, result.kept_step) == ("stopped", 3, 3)
    assert record.summary(one.eval_id) is not None
    assert [row["step"] for row in record.metrics() if row["kind"] == "eval"] == [2, 3]
    assert engine.run(job, no_report, go_on) == record.result()
    assert len(train_losses(record)) == 3


@pytest.mark.parametrize("make", [engine_of, packed_engine])
def test_a_trial_told_to_leave_before_its_report_is_judged_leaves_at_that_step(
    sweep: SweepFolder, model: Path, make: Callable[[SweepFolder, Path], Any]
) -> None:
    one = trial(**LONG)
    record, job = record_of(sweep, one)
    engine = make(sweep, model)
    reports: list[TrialReport] = []
    with pytest.raises(Interrupted):
        engine.run(job, reports.append, lambda: "interrupt" if reports else "go")
    checkpoint = latest_checkpoint(record)
    assert checkpoint is not None
    assert (checkpoint.step, [one.step for one in reports]) == (2, [2])
    reports.clear()
    result = engine.run(job, reports.append, lambda: "stop" if reports else "go")
    assert (result.state, result.steps) == ("stopped", 2)
    assert [row["step"] for row in record.metrics() if row["kind"] == "eval"] == [2]


def test_a_diverging_trial_is_told_at_once_and_leaves_the_next_alone(sweep: SweepFolder, model: Path) -> None:
    engine = engine_of(sweep, model)
    wild = trial(learning_rate=1e30, max_steps=8)
    record, job = record_of(sweep, wild, "W")
    result = engine.run(job, no_report, go_on)
    assert result.state == "diverged"
    assert "is nan" in result.cause or "is inf" in result.cause
    assert 0 < result.steps < 8
    assert record.error_path.read_text(encoding="utf-8").startswith(result.cause)
    assert not record.adapter_folder.exists()
    calm = trial()
    after = engine.run(record_of(sweep, calm)[1], no_report, go_on)
    elsewhere = write_sweep(sweep.folder.parent / "other")
    alone = engine_of(elsewhere, model).run(record_of(elsewhere, calm)[1], no_report, go_on)
    assert after.adapter_sha256 == alone.adapter_sha256


def test_a_failing_trial_has_cause_and_traceback_and_can_be_run_again(sweep: SweepFolder, model: Path) -> None:
    one = trial()
    record, job = record_of(sweep, one)
    hidden = sweep.train_examples_path(42)
    hidden.rename(hidden.with_suffix(".hidden"))
    result = engine_of(sweep, model).run(job, no_report, go_on)
    assert result.state == "failed"
    assert "holds no examples" in result.cause
    assert "Traceback" in record.error_path.read_text(encoding="utf-8")
    hidden.with_suffix(".hidden").rename(hidden)
    assert engine_of(sweep, model).run(job, no_report, go_on).state == "done"


def test_a_lost_lease_is_no_failure_of_the_trial(sweep: SweepFolder, model: Path) -> None:
    class LeaseLost(RuntimeError):
        pass

    record, job = record_of(sweep, trial())

    def fence() -> None:
        if len(train_losses(record)) >= 2:
            raise LeaseLost("taken over")

    engine = SoloEngine(EngineSetup(str(sweep.folder), {"tiny": str(model)}), fence)
    with pytest.raises(LeaseLost):
        engine.run(job, no_report, go_on)
    assert not record.result_path.exists()
    assert not record.error_path.exists()


def test_the_best_checkpoint_is_kept_where_asked_also_across_an_interruption(sweep: SweepFolder, model: Path) -> None:
    rates = {"learning_rate": 0.3, "schedule": "constant", "max_steps": 8, "eval_every_steps": 1, "max_grad_norm": 9.0}
    best, last = trial(keep_checkpoint="best", **rates), trial(**rates)
    engine = engine_of(sweep, model)
    record, job = record_of(sweep, best, "B")
    with pytest.raises(Interrupted):
        engine.run(job, no_report, lambda: "interrupt" if len(train_losses(record)) >= 6 else "go")
    result = engine.run(job, no_report, go_on)
    curve = {row["step"]: row["eval_loss"] for row in record.metrics() if row["kind"] == "eval"}
    assert result.kept_step == min(curve, key=lambda step: curve[step])
    assert result.kept_step < 8, "this rate should overshoot"
    summary = record.summary(best.eval_id)
    assert summary is not None
    assert summary.splits["validation"]["eval_loss"] == pytest.approx(curve[result.kept_step], abs=1e-12)
    other_record, other_job = record_of(sweep, last, "L")
    assert engine.run(other_job, no_report, go_on).kept_step == 8
    assert train_losses(other_record) == train_losses(record)
    other = other_record.summary(last.eval_id)
    assert other is not None
    assert other.splits["validation"]["eval_loss"] == pytest.approx(curve[8], abs=1e-12)


def test_a_new_evaluation_never_trains_again(sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainables.solo import engine as solo_engine

    one = trial()
    record, job = record_of(sweep, one)
    first = engine_of(sweep, model).run(job, no_report, go_on)
    monkeypatch.setattr(solo_engine, "train", lambda *arguments: pytest.fail("trained again"))
    wider = TrialConfig(train=one.train, evaluation=evaluation_of(validation=0, test=6, strategy="sample", top_k=9))
    assert wider.train_id == one.train_id
    reports: list[TrialReport] = []
    assert engine_of(sweep, model).run(record_of(sweep, wider)[1], reports.append, go_on) == record.result()
    assert [one.recorded for one in reports] == [True] * 3
    assert record.evaluation_ids() == sorted((one.eval_id, wider.eval_id))
    old, new = record.predictions(one.eval_id, "test"), record.predictions(wider.eval_id, "test")
    assert len(new) == 6
    assert [row["nll"] for row in new[:4]] == pytest.approx([row["nll"] for row in old], rel=1e-6)
    assert first.first_eval_id == one.eval_id


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("adapter_model.safetensors", None, b"\0\0\x80?"),
        ("adapter_config.json", b'"lora_alpha": 16', b'"lora_alpha": 999'),
    ],
)
def test_an_evaluation_that_fails_costs_neither_the_trial_nor_its_other_evaluations(
    sweep: SweepFolder, model: Path, name: str, old: bytes | None, new: bytes
) -> None:
    one = trial()
    record, job = record_of(sweep, one)
    engine_of(sweep, model).run(job, no_report, go_on)
    before = record.result()
    path = record.adapter_folder / name
    whole = path.read_bytes()
    path.write_bytes(whole.replace(old, new) if old else whole[:-4] + new)
    assert path.read_bytes() != whole
    wider = TrialConfig(train=one.train, evaluation=evaluation_of(validation=0, test=6))
    failed = engine_of(sweep, model).run(record_of(sweep, wider)[1], no_report, go_on)
    assert failed.state == "failed"
    assert f"adapter/{name} is damaged: its checksum is not the recorded one" in failed.cause
    assert record.error_path.read_text(encoding="utf-8").startswith(failed.cause)
    assert record.result() == before
    assert record.evaluation_ids() == [one.eval_id]
    path.write_bytes(whole)
    assert engine_of(sweep, model).run(record_of(sweep, wider)[1], no_report, go_on).state == "done"


def test_an_exported_adapter_in_plain_peft_on_the_plain_base_generates_the_recorded_texts(
    sweep: SweepFolder, model: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    one = trial(evaluation_of(12), max_steps=8, learning_rate=2e-2)
    record, job = record_of(sweep, one)
    engine = engine_of(sweep, model)
    engine.run(job, no_report, go_on)
    plain = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), str(record.adapter_folder)).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = engine.tokenized.evaluation_rows(one.train, "test", 4, 12)
    texts = []
    for row in rows:
        ids = torch.tensor([row.prompt_ids])
        out = plain.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, pad_token_id=0
        )
        texts.append(tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip())
    assert texts == [row["text"] for row in record.predictions(one.eval_id, "test")]
    written = json.loads((record.adapter_folder / "adapter_config.json").read_text())
    assert written["peft_type"] == "LORA"
    assert written["base_model_name_or_path"] == record.train_config().model


def test_checkpointing_and_bf16_and_generation_in_training_work_together(sweep: SweepFolder, model: Path) -> None:
    one = trial(
        precision="bf16", gradient_checkpointing=True, generate_every_steps=2, generate_examples=3, lora_dropout=0.1
    )
    record, job = record_of(sweep, one)
    result = engine_of(sweep, model).run(job, no_report, go_on)
    assert result.state == "done", result.cause
    rows = [row for row in record.metrics() if row["kind"] == "generate"]
    assert [row["step"] for row in rows] == [2, 4]
    assert rows[0]["examples"] == 3
    assert 0 <= rows[0]["rougeL"] <= 1


def test_recomputation_changes_no_number(sweep: SweepFolder, model: Path) -> None:
    engine = engine_of(sweep, model)
    found = []
    for name, checkpointing in (("P", False), ("G", True)):
        record, job = record_of(sweep, trial(gradient_checkpointing=checkpointing), name)
        engine.run(job, no_report, go_on)
        found.append(train_losses(record))
    assert found[0] == pytest.approx(found[1], abs=1e-6)


@pytest.mark.slow
def test_the_engine_says_nothing_and_leaves_ray_alone(sweep: SweepFolder, model: Path) -> None:
    one = trial(max_steps=2, quantization="nf4", optimizer="paged_adamw_8bit", gradient_checkpointing=True)
    record_of(sweep, one)
    code = (
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "from trainables.solo.engine import SoloEngine\n"
        "from engine_inputs import *\n"
        "one = TrialConfig.model_validate_json(sys.argv[5])\n"
        "sweep = SweepFolder(Path(sys.argv[3]))\n"
        "engine = engine_of(sweep, Path(sys.argv[4]))\n"
        "engine.preflight([one])\n"
        "result = engine.run(record_of(sweep, one)[1], lambda row: None, lambda: 'go')\n"
        "assert result.state == 'done', result\n"
        "assert 'ray' not in sys.modules\n"
    )
    here = str(ROOT / "tests" / "support")
    arguments = [str(ROOT), here, str(sweep.folder), str(model), one.model_dump_json()]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
