"""Identities: what is hashed, what is not, and errors that name key, rule, value and nearest name."""

from __future__ import annotations

import pytest

from trainables.config import DECODINGS, EvalConfig, TrainConfig, TrialConfig, configured, eval_id, generation_id
from trainables.errors import UserError

TRAIN = TrainConfig(model="gpt2", data="samsum")


def trial(train: TrainConfig = TRAIN, evaluation: EvalConfig | None = None) -> TrialConfig:
    return TrialConfig(train=train, evaluation=evaluation or EvalConfig())


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 1e-4},
        {"lora_rank": 16},
        {"prompt": "v2"},
        {"seed": 43},
        {"data_seed": 43},
        {"quantization": "nf4"},
        {"target_modules": ("c_attn", "c_fc")},
        {"prompt_template": "{source} TL;DR:"},
    ],
)
def test_what_changes_the_weights_changes_the_train_id(change: dict) -> None:
    assert trial(TRAIN.model_copy(update=change)).train_id != trial().train_id


@pytest.mark.parametrize(
    "change", [{"eval_every_steps": 8}, {"gradient_checkpointing": True}, {"generate_every_steps": 4}]
)
def test_cadence_and_recomputation_do_not_change_the_train_id(change: dict) -> None:
    assert trial(TRAIN.model_copy(update=change)).train_id == trial().train_id


def test_the_cadence_belongs_to_the_weights_where_the_best_checkpoint_is_kept() -> None:
    best = TRAIN.model_copy(update={"keep_checkpoint": "best"})
    assert trial(best).train_id != trial(best.model_copy(update={"eval_every_steps": 8})).train_id
    assert trial(best).train_id != trial(best, EvalConfig(validation_examples=10)).train_id


def test_a_curve_of_its_own_length_changes_no_evaluation_and_keeps_the_best_checkpoint() -> None:
    early = EvalConfig(validation_examples=16, curve_examples=64)
    assert eval_id(early) == eval_id(EvalConfig(validation_examples=16))
    best = TRAIN.model_copy(update={"keep_checkpoint": "best"})
    assert trial(best, early).train_id == trial(best).train_id
    assert trial(best, early).train_id != trial(best, EvalConfig(validation_examples=16)).train_id


def test_an_evaluation_never_changes_the_train_id() -> None:
    other = EvalConfig(decoding=DECODINGS["beam4"], test_examples=500)
    assert trial(evaluation=other).train_id == trial().train_id
    assert trial(evaluation=other).eval_id != trial().eval_id


def test_metrics_change_the_evaluation_but_not_its_texts() -> None:
    more = EvalConfig(metrics=("rouge", "chrf"))
    assert eval_id(more) != eval_id(EvalConfig())
    assert generation_id(more) == generation_id(EvalConfig())


def test_a_greedy_baseline_is_one_whatever_the_training_settings_and_the_seed() -> None:
    zero = TRAIN.model_copy(update={"max_steps": 0})
    other = zero.model_copy(update={"seed": 43, "lora_rank": 16, "learning_rate": 1e-4})
    assert trial(zero).train_id == trial(other).train_id
    sampled = EvalConfig(decoding=DECODINGS["original"])
    assert trial(zero, sampled).train_id != trial(other, sampled).train_id
    assert trial(zero).train_id != trial(zero.model_copy(update={"prompt": "v2"})).train_id


def test_identities_are_pinned() -> None:
    """A changed identity would retrain every kept sweep."""
    assert trial().train_id == "9c1fa300"
    assert trial().eval_id == eval_id(EvalConfig())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lora_rank": 0}, ["lora_rank", "greater than or equal to 1", "got 0"]),
        ({"learning_rate": "2e-4"}, ["learning_rate", "'2e-4'", "without quotes"]),
        ({"learning_rate": -1.0}, ["learning_rate", "greater than 0", "-1.0"]),
        ({"learning_rate": float("nan")}, ["learning_rate", "finite"]),
        ({"lora_rnk": 8}, ["lora_rnk", "lora_rank"]),
        ({"optimizer": "adamw"}, ["optimizer", "adamw_torch"]),
        ({"lora_dropout": 1.0}, ["lora_dropout", "less than 1"]),
        ({"target_modules": []}, ["target_modules"]),
        ({"warmup_steps": 4, "warmup_ratio": 0.1}, ["warmup_steps or warmup_ratio"]),
        ({"warmup_steps": 32}, ["warmup_steps", "max_steps=32", "got 32"]),
    ],
)
def test_a_wrong_value_names_key_rule_value_and_remedy(values: dict, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        configured(TrainConfig, {"model": "gpt2", "data": "samsum", **values})
    for word in words:
        assert word in str(caught.value)
