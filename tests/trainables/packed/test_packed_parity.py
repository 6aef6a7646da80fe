"""The long parity of the packed engine with its plain twin: widths, families, precisions, quantization, refills."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from engine_inputs import REAL, TARGETS, evaluation_of, record_of, train_losses, trial, write_model, write_sweep
from packs import Ran, assert_same, both, close, packed_engine, run_packed, run_solo
from waiting import wait_until

from trainables.config import DECODINGS, Decoding, EvalConfig, TrialConfig
from trainables.data.corpus import Example
from trainables.hardware import machine
from trainables.jobs import Interrupted
from trainables.packed.engine import PackedEngine
from trainables.records.record import SweepFolder, TrialRecord

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
MODELS = REAL / "models"
ATTENTION = {"stories260K-llama": ("q_proj", "v_proj"), "dialogue-7M-gpt2": ("c_attn",)}
EIGHT_BIT = (1e-2, 5e-3)  # how far losses (relatively) and weights may be apart
PENALIZED = Decoding(repetition_penalty=1.3)
SHAPES: list[dict[str, Any]] = [
    {"lora_rank": 4, "learning_rate": 5e-3},
    {"lora_rank": 8, "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 3, "weight_decay": 0.1}
    | {"lora_alpha": 1.5, "batch_size": 3, "gradient_accumulation_steps": 1},
    {"lora_rank": 16, "batch_size": 1, "gradient_accumulation_steps": 4, "seed": 5, "max_steps": 20},
    {"lora_rank": 4, "prompt": "other", "prompt_template": "{source}\nIn short:", "train_examples": 7},
    {"lora_rank": 5, "optimizer": "paged_adamw_32bit", "max_grad_norm": 0.1, "warmup_ratio": 0.2},
    {"lora_rank": 8, "target_modules": ("c_attn", "c_proj", "c_fc"), "seed": 9, "eval_every_steps": 5},
    {"lora_rank": 32, "target_modules": ("c_fc",), "optimizer": "paged_adamw_8bit", "learning_rate": 1e-3, "seed": 3},
    {"lora_rank": 4, "target_modules": ("c_fc", "lm_head"), "keep_checkpoint": "best", "gradient_checkpointing": True},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


def eight(dropout: float, **more: Any) -> dict[str, TrialConfig]:
    settings = {"max_steps": 32, "eval_every_steps": 4, "lora_dropout": dropout, **more}
    return {f"{number}": trial(**{**settings, **shape}) for number, shape in enumerate(SHAPES)}


@pytest.fixture(scope="module")
def eight_alone(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Callable[..., dict[str, Ran]]:
    """Give the eight trials by the solo engine, trained once for all who compare with them."""

    @cache
    def ran(dropout: float, quantization: str) -> dict[str, Ran]:
        sweep = write_sweep(tmp_path_factory.mktemp("alone") / "solo")
        return run_solo(sweep, model, eight(dropout, quantization=quantization))

    return ran


@pytest.mark.parametrize(
    ("together", "lanes"), [(1, False), (8, False), (3, True)], ids=["in turn", "in one batch", "in lanes"]
)
@pytest.mark.parametrize(("dropout", "quantization"), [(0.0, "none"), (0.05, "none"), (0.05, "nf4")])
def test_eight_mixed_trials_over_32_steps_are_the_trials_alone(
    tmp_path: Path, model: Path, eight_alone: Callable[..., dict[str, Ran]],
    dropout: float, quantization: str, together: int, lanes: bool,
) -> None:  # fmt: skip
    alone, sweep = eight_alone(dropout, quantization), write_sweep(tmp_path / "packed")
    engine = packed_engine(sweep, model, together, lanes=lanes)
    packed = run_packed(engine, sweep, eight(dropout, quantization=quantization))
    for name in alone:
        in_8_bits = alone[name].trial.train.optimizer == "paged_adamw_8bit"
        assert_same(alone[name], packed[name], *(EIGHT_BIT if in_8_bits else ()))


def test_8_bit_moments_are_each_adapters_own(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m", width=64)
    trials = {
        str(rank): trial(optimizer="paged_adamw_8bit", lora_rank=rank, max_steps=12, learning_rate=1e-3)
        for rank in (32, 48)  # above 4,096 elements a tensor, the least that is kept in 8 bits
    }
    alone, packed = both(tmp_path, model, trials)
    for name in trials:
        assert_same(alone[name], packed[name], *EIGHT_BIT)


@pytest.mark.parametrize("family", ["gpt2", "phi", "llama"])
@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_families_and_4_bit_bases(tmp_path: Path, family: str, quantization: str) -> None:
    model = write_model(tmp_path / "m", family, width=64)
    settings = {"target_modules": TARGETS[family], "quantization": quantization, "max_steps": 6}
    trials = {str(seed): trial(**settings, seed=seed, lora_rank=4 * seed) for seed in (1, 2)}
    alone, packed = both(tmp_path, model, {**trials, "zero-shot": trial(max_steps=0, quantization=quantization)})
    for name in alone:
        assert_same(alone[name], packed[name])


@pytest.mark.parametrize("family", ["mistral", "qwen2", "gemma", "opt", "falcon", "falcon-alibi"])
def test_other_families_train_and_are_the_trials_alone(tmp_path: Path, family: str) -> None:
    model = write_model(tmp_path / "m", family)
    last = {"opt": "fc2", "falcon": "dense_4h_to_h", "falcon-alibi": "dense_4h_to_h"}.get(family, "down_proj")
    trials = {
        str(seed): trial(target_modules=(*TARGETS[family], last), seed=seed, max_steps=4, lora_rank=2 + seed)
        for seed in (1, 2)
    }
    alone = run_solo(write_sweep(tmp_path / "solo"), model, trials)
    for together in (1, 2):
        sweep = write_sweep(tmp_path / str(together))
        packed = run_packed(packed_engine(sweep, model, together), sweep, trials)
        for name in alone:
            assert_same(alone[name], packed[name])


def stories(folder: Path) -> SweepFolder:
    """A sweep of beginnings of stories for a real trained model."""
    if not MODELS.is_dir():
        pytest.skip("../shared/real is absent")
    sweep = SweepFolder(folder)
    beings = ("dog", "girl named Lily", "boy", "cat", "bird", "old man", "car", "bear", "fish", "tree", "frog", "bee")
    places = ("in the park", "near the big sea", "with a red ball", "and a very happy mom")

    def rows(split: str) -> list[dict[str, Any]]:
        starts = [f"Once upon a time there was a {being} {place}." for being in beings for place in places]
        texts = starts if split != "train" else [f"{start} They played all day." for start in starts]
        return [Example(f"{split}-{i}", text, ("They were happy.",)).row() for i, text in enumerate(texts)]

    sweep.write_examples(sweep.train_examples_path(42), rows("train"))
    for split in ("validation", "test"):
        sweep.write_examples(sweep.evaluation_examples_path(split), rows(split))
    return sweep


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("name", "decoding"),
    [
        ("stories260K-llama", DECODINGS["greedy"]),
        ("stories260K-llama", DECODINGS["original"]),
        ("dialogue-7M-gpt2", PENALIZED),
    ],
    ids=["greedy", "original", "penalized"],
)
def test_texts_of_a_trained_model_at_widths_1_3_and_8(
    tmp_path: Path, name: str, precision: str, decoding: Decoding
) -> None:
    if (name, precision) == ("dialogue-7M-gpt2", "bf16") and not machine.has_avx512():
        pytest.skip("torch multiplies Conv1D's bf16 weights without AVX-512 element by element: over ten minutes")
    evaluation = EvalConfig(decoding=decoding, max_new_tokens=32, validation_examples=0, test_examples=48)
    common: dict[str, Any] = {"precision": precision, "target_modules": ATTENTION[name], "max_steps": 3}
    common |= {"prompt_template": "{source}\n", "prompt": "story", "eval_every_steps": 0, "train_examples": 24}
    trials = {str(seed): trial(evaluation, **common, seed=seed, learning_rate=1e-2 / (1 + seed)) for seed in range(7)}
    trials["zero-shot"] = trial(evaluation, **{**common, "max_steps": 0})
    found: dict[int, dict[str, Ran]] = {}
    for width in (1, 3, 8):
        sweep = stories(tmp_path / str(width))
        engine = packed_engine(sweep, MODELS / name, together=min(2, width), width=width, lanes=width > 1)
        found[width] = {}
        for start in range(0, 8, width):
            chosen = {name: trials[name] for name in list(trials)[start : start + width]}
            if width == 3:
                interrupt(engine, sweep, chosen, step=2)
            found[width] |= run_packed(engine, sweep, chosen)
    assert [ran.result["restarts"] for ran in found[3].values()] == [1] * 7 + [0]
    alone = run_solo(stories(tmp_path / "alone"), MODELS / name, {key: trials[key] for key in ("0", "zero-shot")})
    texts = {width: [text for ran in rans.values() for text in ran.texts()] for width, rans in found.items()}
    assert texts[1] == texts[3] == texts[8]
    assert found[8]["zero-shot"].texts() == alone["zero-shot"].texts()
    # In bf16 rows without padding round otherwise than rows with it, so that the engines' weights part after a step.
    if precision == "fp32":
        assert found[8]["0"].texts() == alone["0"].texts()
    long = {row["text"] for ran in found[8].values() for row in ran.predictions() if row["new_tokens"] >= 20}
    assert len(long) >= 40
    same_weights_write_the_same(tmp_path, MODELS / name, found[8]["0"])
    tolerance = 1e-5 if precision == "fp32" else 1e-2
    close(found[8]["0"].column("train", "train_loss"), alone["0"].column("train", "train_loss"), tolerance)


def interrupt(engine: PackedEngine, sweep: SweepFolder, trials: dict[str, TrialConfig], step: int) -> None:
    """Begin trials, and have each leave after so many steps; baselines are finished."""

    def control(record: TrialRecord) -> Any:
        return lambda: "interrupt" if len(train_losses(record)) >= step else "go"

    with pytest.raises(Interrupted):
        run_packed(engine, sweep, trials, dict.fromkeys(trials, control))


def same_weights_write_the_same(folder: Path, model: Path, ran: Ran) -> None:
    """Have the solo engine write, with the adapter that a pack trained, what the pack wrote with it."""
    sweep = stories(folder / "moved")
    later = ran.trial.model_copy(
        update={"evaluation": ran.trial.evaluation.model_copy(update={"validation_examples": 1, "test_examples": 48})}
    )
    record, _ = record_of(sweep, later, "moved")
    shutil.copytree(ran.record.folder, record.folder, dirs_exist_ok=True)
    steps = len(ran.record.metrics())
    again = run_solo(sweep, model, {"moved": later})["moved"]
    assert len(again.record.metrics()) == steps, "it was trained again"
    assert again.texts()[1:] == ran.texts()


def test_trials_before_and_after_ten_refills_beside_a_running_one_are_the_trials_alone(
    tmp_path: Path, model: Path
) -> None:
    # Twelve come at once to two slots; eleven are short, and each takes the place of another beside the long one.
    trials = {f"{number:02}": trial(max_steps=2, lora_dropout=0.1, seed=number) for number in range(12)}
    # It asks for texts as often as they do, which are then written together: else theirs would wait for its end.
    often = {"eval_every_steps": 1, "generate_every_steps": 1, "generate_examples": 1}
    trials["00"] = trial(max_steps=40, **often, lora_dropout=0.1)
    sweep = write_sweep(tmp_path / "packed")
    packed = run_packed(packed_engine(sweep, model, width=2), sweep, trials)
    assert len(packed["00"].result["packmates"]) == 11
    alone = run_solo(write_sweep(tmp_path / "solo"), model, trials)
    for name in trials:
        assert_same(alone[name], packed[name])


def test_trials_of_a_killed_pack_continue_to_the_same_losses(tmp_path: Path, model: Path) -> None:
    trials = {str(seed): trial(max_steps=10, seed=seed, lora_dropout=0.1) for seed in (1, 2)}
    sweep = write_sweep(tmp_path / "killed")
    records = {name: record_of(sweep, one, name)[0] for name, one in trials.items()}
    code = (
        "import sys, json, time; sys.path[:0] = sys.argv[1:3]\n"
        "from packs import *\n"
        "trials = {k: TrialConfig.model_validate_json(v) for k, v in json.loads(sys.argv[5]).items()}\n"
        "def slow():\n"
        "    time.sleep(0.05)\n"
        "    return 'go'\n"
        "sweep = SweepFolder(Path(sys.argv[3]))\n"
        "run_packed(packed_engine(sweep, Path(sys.argv[4])), sweep, trials, {k: lambda r: slow for k in trials})\n"
    )
    here = str(ROOT / "tests" / "support")
    given = json.dumps({name: one.model_dump_json() for name, one in trials.items()})
    process = subprocess.Popen([sys.executable, "-c", code, str(ROOT), here, str(sweep.folder), str(model), given])
    wait_until(
        lambda: process.poll() is not None or all(len(train_losses(record)) >= 5 for record in records.values()), 120
    )
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    found = run_packed(packed_engine(sweep, model), sweep, trials)
    alone = run_solo(write_sweep(tmp_path / "alone"), model, trials)
    for name, ran in found.items():
        assert ran.result["restarts"] == 1
        assert_same(alone[name], Ran(ran.trial, ran.record, {**ran.result, "restarts": 0}))


def test_an_evaluation_alone_of_every_trial_shares_batches_and_is_the_same(tmp_path: Path, model: Path) -> None:
    first, second = evaluation_of(6), evaluation_of(24, strategy="beam", num_beams=2)
    alone, packed = both(tmp_path, model, {str(seed): trial(first, max_steps=2, seed=seed) for seed in (1, 2, 3)})
    later = {name: trial(second, max_steps=2, seed=int(name)) for name in alone}
    sweep = SweepFolder(tmp_path / "packed-1")
    again = run_packed(packed_engine(sweep, model), sweep, later)
    expected = run_solo(SweepFolder(tmp_path / "solo"), model, later)
    for name in alone:
        assert again[name].texts() == expected[name].texts()
        assert again[name].result == packed[name].record.result().content()
