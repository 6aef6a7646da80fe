"""Predictions, their means, scores without a model, and what a preflight refuses."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_inputs import engine_of, evaluation_of, record_of, trial, write_model, write_sweep
from packs import packed_engine, run_packed

from trainables.config import EvalConfig
from trainables.errors import UserError
from trainables.jobs import EngineSetup, go_on, no_report
from trainables.packed.engine import PackedReader
from trainables.records.record import SweepFolder
from trainables.scoring.metrics import score
from trainables.scoring.rescore import summarize
from trainables.solo.engine import SoloEngine
from trainables.tokenization.token_rows import TokenRow

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return write_sweep(tmp_path / "sweep")


def test_a_prediction_holds_text_ending_loss_and_scores(sweep: SweepFolder, model: Path) -> None:
    one = trial(max_steps=0)
    record, job = record_of(sweep, one)
    result = engine_of(sweep, model).run(job, no_report, go_on)
    assert (result.state, result.steps, result.adapter_bytes) == ("done", 0, 0)
    examples = {
        split: engine_of(sweep, model).tokenized.evaluation_examples(split, 99) for split in ("validation", "test")
    }
    summary = record.summary(one.eval_id)
    assert summary is not None
    for split, count in one.evaluation.examples.items():
        rows = record.predictions(one.eval_id, split)
        assert [row["id"] for row in rows] == [example.id for example in examples[split][:count]]
        for row, example in zip(rows, examples[split], strict=False):
            assert row["scores"] == score(row["text"], example.references, ("rouge",))
            assert row["ended"] == ("length" if row["new_tokens"] == 8 else "eos")
            assert row["nll_tokens"] == len(example.references[0]) + 2  # bytes, the space before, the end-of-text
        loss = math.fsum(row["nll"] for row in rows) / sum(row["nll_tokens"] for row in rows)
        found = summary.splits[split]
        assert found["eval_loss"] == pytest.approx(loss, abs=1e-12)
        assert found["perplexity"] == pytest.approx(math.exp(loss))
        assert found["rougeL"] == pytest.approx(sum(row["scores"]["rougeL"] for row in rows) / len(rows))
        assert found["success_rate"] == 1 - found["empty_rate"]


def test_what_the_last_step_of_a_curve_has_written_is_not_written_again(
    tmp_path: Path, sweep: SweepFolder, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def counting(self: PackedReader, rows: Sequence[TokenRow], *others: Any) -> Any:
        written.append(len(rows))
        return original(self, rows, *others)

    original = PackedReader.texts
    monkeypatch.setattr(PackedReader, "texts", counting)
    without, curve = trial(), trial(generate_every_steps=2, generate_examples=4)
    plain = run_packed(packed_engine(sweep, model), sweep, {"A": without})["A"]
    assert written == [6 + 4]
    written.clear()
    other = write_sweep(tmp_path / "other")
    found = run_packed(packed_engine(other, model), other, {"A": curve})["A"]
    assert written == [4, 4, 2 + 4]  # at steps 2 and 4, and the rest
    assert found.predictions() == plain.predictions()


def test_texts_of_other_weights_than_those_kept_are_written_anew(sweep: SweepFolder, model: Path) -> None:
    settings: dict[str, Any] = {"learning_rate": 1.0, "eval_every_steps": 1, "keep_checkpoint": "best"}
    alone = run_packed(packed_engine(sweep, model), sweep, {"A": trial(**settings)})["A"]
    assert alone.result["kept_step"] < 4
    curve = trial(**settings, generate_every_steps=2, generate_examples=4)
    found = run_packed(packed_engine(sweep, model), sweep, {"B": curve})["B"]
    assert found.texts() == alone.texts()


def test_failed_and_empty_rows_count_with_scores_of_zero() -> None:
    zero, some = score("", ["a b"]), score("a b", ["a b"])
    rows: list[dict[str, Any]] = [
        {"text": "a b", "new_tokens": 2, "ended": "eos", "source_tokens_cut": 0, "nll": 4.0, "nll_tokens": 2},
        {"text": "", "new_tokens": 0, "ended": "eos", "source_tokens_cut": 3, "nll": 2.0, "nll_tokens": 1},
        {"text": "", "new_tokens": 0, "ended": "error", "source_tokens_cut": 9, "nll": None, "nll_tokens": 0},
        {"text": "a b", "new_tokens": 6, "ended": "length", "source_tokens_cut": 0, "nll": 3.0, "nll_tokens": 3},
    ]
    for row, scores in zip(rows, (some, zero, zero, some), strict=True):
        row["scores"] = scores
    found = summarize(rows)
    assert (found["examples"], found["failed"], found["sources_cut"]) == (4, 1, 2)
    assert (found["eval_loss"], found["rougeL"], found["generated_tokens"]) == (1.5, 0.5, 2.0)
    assert (found["empty_rate"], found["limit_rate"], found["success_rate"]) == (0.25, 0.25, 0.5)


def test_an_example_that_does_not_fit_is_a_failed_row_and_is_dropped_from_training(
    sweep: SweepFolder, model: Path
) -> None:
    for path in (sweep.evaluation_examples_path("test"), sweep.train_examples_path(42)):
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        rows[1]["references"] = ["word " * 40]  # as long as the limit: no room for a source
        rows[2]["source"] = "A: yes\n" * 60
        sweep.write_examples(path, rows)
    one = trial(max_steps=1)
    record, job = record_of(sweep, one)
    result = engine_of(sweep, model).run(job, no_report, go_on)
    assert result.state == "done", result.cause
    assert (result.train_examples_used, result.train_examples_dropped) == (15, 1)
    assert result.train_sources_cut == 1
    failed, cut = record.predictions(one.eval_id, "test")[1:3]
    assert (failed["ended"], failed["nll"], failed["text"]) == ("error", None, "")
    assert "does not fit" in failed["cause"]
    assert set(failed["scores"].values()) == {0.0}
    assert cut["source_tokens_cut"] > 0
    assert cut["ended"] != "error"
    summary = record.summary(one.eval_id)
    assert summary is not None
    assert summary.splits["test"]["failed"] == 1


def test_a_new_metric_is_computed_from_stored_texts_without_a_model(sweep: SweepFolder, model: Path) -> None:
    one = trial(max_steps=0)
    record, job = record_of(sweep, one)
    engine_of(sweep, model).run(job, no_report, go_on)
    more = one.model_copy(update={"evaluation": evaluation_of(metrics=("rouge", "chrf"))})
    without_model = SoloEngine(EngineSetup(str(sweep.folder), {"tiny": str(sweep.folder / "no-such-model")}))
    without_model.run(record_of(sweep, more)[1], no_report, go_on)
    old, new = record.summary(one.eval_id), record.summary(more.eval_id)
    assert old is not None
    assert new is not None
    assert old.generation_id == new.generation_id
    assert new.splits["test"]["chrf"] >= 0
    assert "chrf" not in old.splits["test"]
    for name in ("rougeL", "eval_loss", "generated_tokens"):
        assert old.splits["test"][name] == new.splits["test"][name]
    code = "import sys, trainables.scoring.rescore, trainables.model_files.layer_shapes\n"
    code += "import trainables.tokenization.tokenized_corpus; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_another_decoding_generates_anew_and_keeps_the_first(sweep: SweepFolder, model: Path) -> None:
    one = trial(max_steps=0)
    record, job = record_of(sweep, one)
    engine = engine_of(sweep, model)
    engine.run(job, no_report, go_on)
    beam = one.model_copy(update={"evaluation": evaluation_of(strategy="beam", num_beams=2)})
    engine.run(record_of(sweep, beam)[1], no_report, go_on)
    assert record.evaluation_ids() == sorted((one.eval_id, beam.eval_id))
    left, right = (record.predictions(identity, "test") for identity in (one.eval_id, beam.eval_id))
    assert [row["nll"] for row in left] == [row["nll"] for row in right]
    assert [row["text"] for row in left] != [row["text"] for row in right]


# --- preflight -------------------------------------------------------------------------------------------------------


def test_preflight_says_what_it_measured(sweep: SweepFolder, model: Path) -> None:
    found = engine_of(sweep, model).preflight([trial(max_steps=0), trial(), trial(lora_rank=8)])
    (texts,), (step,) = found.prompts, found.training
    assert texts.examples == 10
    assert step.loss is not None
    assert math.isfinite(step.loss)
    assert step.gradient_norm is not None
    assert step.gradient_norm > 0
    assert "attn_pdrop" in found.base_dropout_switched_off


def test_preflight_refuses_lengths_that_do_not_fit_naming_them(sweep: SweepFolder, model: Path) -> None:
    long = trial(EvalConfig(max_new_tokens=170, validation_examples=6, test_examples=4))
    with pytest.raises(UserError, match=r"instruction 8, cue 9.*max_new_tokens 170"):
        engine_of(sweep, model).preflight([long])


def test_preflight_refuses_a_target_or_rank_that_the_model_has_not(sweep: SweepFolder, model: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'c_attn'"):
        engine_of(sweep, model).preflight([trial(target_modules=("c_atn",))])
    with pytest.raises(UserError, match="at most 32"):
        engine_of(sweep, model).preflight([trial(lora_rank=33)])


def test_preflight_refuses_a_model_of_which_all_texts_are_empty(sweep: SweepFolder, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    mute = write_model(tmp_path / "mute")
    weights = load_file(mute / "model.safetensors")
    weights["transformer.ln_f.weight"] *= 0
    weights["transformer.ln_f.bias"] = 9 * weights["transformer.wte.weight"][0]
    save_file(weights, mute / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="ends at once on all 10"):
        engine_of(sweep, mute).preflight([trial()])


def test_preflight_refuses_a_model_that_is_not_finite(sweep: SweepFolder, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    broken = write_model(tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    # Numbers all of them, but the logit of a token: it is written, and no loss is finite.
    weights["transformer.wte.weight"][:, 0] = 0
    weights["transformer.wte.weight"][40, 0] = 10
    weights["transformer.ln_f.bias"][0] = 3e38
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="not finite"):
        engine_of(sweep, broken).preflight([trial()])
