"""What must hold before anything trains, shown on real rows with the real model: every stage once, in seconds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from trainables.config import TrialConfig
from trainables.errors import UserError
from trainables.hardware.device_memory import is_out_of_memory
from trainables.jobs import by_base, go_on
from trainables.model_files.layer_shapes import lora_parameters
from trainables.modeling.lora_targets import chosen
from trainables.prompts import template_of
from trainables.scoring import evaluate_library
from trainables.startup_progress import stage
from trainables.tokenization.end_checks import check_ends, check_ids
from trainables.tokenization.prompt_lengths import PromptLengths, check_lengths
from trainables.tokenization.served_tokenizer import differences
from trainables.tokenization.token_rows import TokenRow
from trainables.trial.evaluate import longest
from trainables.trial.preflight_report import EndTokens, GenerationCheck, PreflightReport, StepCheck
from trainables.trial.trial_handle import TrialEngine, trial_handle

GENERATED_EXAMPLES = 10
GENERATED_TOKENS = 16


def check(engine: TrialEngine, trials: list[TrialConfig]) -> PreflightReport:
    """Raise UserError where a stage of these trials cannot work; returns what was measured on the way.

    Lengths that fit, adapters that fit their layers, a cue and an end-of-text in every row, texts that are not all
    empty, and a longest batch that goes forward and backward once and stays finite.
    """
    with stage("proving every stage", _stages(trials)) as proved:
        return _check(engine, trials, proved)


def _stages(trials: list[TrialConfig]) -> int:
    """Return how many things `_check` proves that may take long."""
    bases = by_base(trials).values()
    texts = sum(len(_distinct(members, *PROMPT)) for members in bases)
    steps = sum(any(not one.train.is_baseline for one in members) for members in bases)
    return len(_distinct(trials, *PROMPT, "train.is_baseline")) + texts + steps


def _check(engine: TrialEngine, trials: list[TrialConfig], proved: Callable[[], None]) -> PreflightReport:
    began = time.monotonic()
    ends: list[EndTokens] = []
    lengths: list[PromptLengths] = []
    prompts: list[GenerationCheck] = []
    training: list[StepCheck] = []
    said: list[str] = []
    for trial in _distinct(trials, "train.model", "train.lora_rank", "train.target_modules"):
        if not trial.train.is_baseline:
            lora_parameters(engine.tokenized.folder(trial.train), trial.train.lora_rank, trial.train.target_modules)
    for trial in _distinct(trials, "train.model"):
        encoder = engine.tokenized.encoder(trial.train)
        check_ends(encoder, engine.tokenized.folder(trial.train))
        ends.append(EndTokens(encoder.eos_id, tuple(encoder.eos_ids)))
    for trial in _distinct(trials, "evaluation.metrics"):
        evaluate_library.check(trial.evaluation.metrics)
    for trial in _distinct(trials, *PROMPT, "train.is_baseline"):
        lengths += _check_lengths(engine, trial)
        _check_rows(engine, trial)
        proved()
    for trial in _distinct(trials, "train.model", "train.prompt", "train.tokenization"):
        said += [one for one in _served(engine, trial) if one not in said]
    switched_off = engine.base(trials[0].train).dropout_switched_off
    for members in by_base(trials).values():  # what has to be shown on one is shown before the next is loaded
        for trial in _distinct(members, "train.target_modules", "train.is_baseline"):
            if not trial.train.is_baseline:
                chosen(engine.base(trial.train).model, trial.train.target_modules, trial.train.model)
        for trial in _distinct(members, *PROMPT):
            prompts.append(_check_texts(engine, trial))
            proved()
        for trial in sorted((one for one in members if not one.train.is_baseline), key=lambda one: -_work(one))[:1]:
            training.append(_check_step(engine, trial))
            proved()
    return PreflightReport(
        trials=len(trials),
        ends=tuple(ends),
        lengths=tuple(lengths),
        prompts=tuple(prompts),
        training=tuple(training),
        said=tuple(said),
        base_dropout_switched_off=switched_off,
        seconds=round(time.monotonic() - began, 2),
    )


PROMPT = ("train.model", "train.prompt", "train.max_length_tokens", "train.data_seed", "evaluation.max_new_tokens")


def _distinct(trials: list[TrialConfig], *fields: str) -> list[TrialConfig]:
    """Return one trial per combination of fields, in order."""
    found: dict[tuple[Any, ...], TrialConfig] = {}
    for trial in trials:
        key = []
        for field in fields:
            part, name = field.split(".")
            key.append(getattr(getattr(trial, part), name))
        found.setdefault(tuple(key), trial)
    return list(found.values())


def _work(trial: TrialConfig) -> int:
    return trial.train.batch_size * 10_000 + trial.train.lora_rank


def _check_lengths(engine: TrialEngine, trial: TrialConfig) -> list[PromptLengths]:
    tokenized, config, evaluation = engine.tokenized, trial.train, trial.evaluation
    encoder, limit = tokenized.encoder(config), tokenized.limit_tokens(config)
    prompts = {config.prompt: config.prompt_template or template_of(config.prompt, {})}
    stages = [(split, tokenized.evaluation_examples(split, count)) for split, count in evaluation.examples.items()]
    found = [check_lengths(encoder, prompts, rows, limit, evaluation.max_new_tokens, split) for split, rows in stages]
    if not config.is_baseline:
        found.append(check_lengths(encoder, prompts, tokenized.train_examples(config), limit, 0, "training"))
    return [lengths for group in found for lengths in group]


def _check_rows(engine: TrialEngine, trial: TrialConfig) -> None:
    """The trained tokens of every row end with the end-of-text."""
    tokenized, config = engine.tokenized, trial.train
    encoder = tokenized.encoder(config)
    rows = [*_evaluation_rows(engine, trial), *([] if config.is_baseline else tokenized.train_rows(config))]
    for row in rows:
        check_ids(encoder, tokenized.folder(config), row.example_id, (*row.prompt_ids, *row.target_ids))
        if row.target_ids[-1:] != (encoder.eos_id,):
            raise UserError(f"example {row.example_id!r} would train without an end-of-text token")


def _served(engine: TrialEngine, trial: TrialConfig) -> list[str]:
    """Return where the ids of prompts are not those that whoever serves the model gets from AutoTokenizer."""
    config, evaluation = trial.train, trial.evaluation
    if config.tokenization == "parts":
        return []
    template = config.prompt_template or template_of(config.prompt, {})
    split, count = next(iter(evaluation.examples.items()))
    examples = engine.tokenized.evaluation_examples(split, count)
    trust = engine.setup.trust_remote_code
    return differences(engine.tokenized.folder(config), config.model, template, examples, trust)


def _evaluation_rows(engine: TrialEngine, trial: TrialConfig) -> list[TokenRow]:
    evaluation = trial.evaluation
    return [
        row
        for split, count in evaluation.examples.items()
        for row in engine.tokenized.evaluation_rows(trial.train, split, count, evaluation.max_new_tokens)
    ]


def _check_texts(engine: TrialEngine, trial: TrialConfig) -> GenerationCheck:
    """Generate on ten examples from the shortest to the longest: not all may be empty."""
    began = time.monotonic()
    rows = sorted((row for row in _evaluation_rows(engine, trial) if row.fits), key=lambda row: len(row.prompt_ids))
    last = max(1, min(GENERATED_EXAMPLES, len(rows)) - 1)
    chosen = [rows[i * (len(rows) - 1) // last] for i in range(min(GENERATED_EXAMPLES, len(rows)))]
    encoder = engine.tokenized.encoder(trial.train)
    tokens = min(GENERATED_TOKENS, trial.evaluation.max_new_tokens)
    with trial_handle(engine, trial.train, go_on, adapted=False) as handle:
        written = handle.reader(go_on).texts(chosen, trial.evaluation.decoding, tokens)
    failures = [one for one in written if isinstance(one, str)]
    if failures:
        raise UserError(f"prompt {trial.train.prompt!r}: the model cannot generate ({failures[0]})")
    empty = sum(not encoder.decode(one.ids).strip() for one in written if not isinstance(one, str))
    if empty == len(written):
        raise UserError(
            f"prompt {trial.train.prompt!r}: {trial.train.model} ends at once on all {empty} of the examples tried; "
            "take another prompt or model"
        )
    return GenerationCheck(
        prompt=trial.train.prompt,
        examples=len(chosen),
        empty=empty,
        prompt_tokens=(len(chosen[0].prompt_ids), len(chosen[-1].prompt_ids)),
        seconds=round(time.monotonic() - began, 2),
    )


def _check_step(engine: TrialEngine, trial: TrialConfig) -> StepCheck:
    """Take the longest batch forward and backward once: loss and gradients must be finite."""
    began = time.monotonic()
    config = trial.train
    rows = longest([row for row in engine.tokenized.train_rows(config) if row.fits], config.batch_size)
    try:
        with trial_handle(engine, config, go_on, adapted=True) as handle:
            tokens, loss, norm = handle.rehearse(rows)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return StepCheck(out_of_memory=str(error).splitlines()[0])  # other trials may be smaller: each is judged alone
    if not math.isfinite(loss) or not math.isfinite(norm):
        raise UserError(f"{config.model} is not finite on its longest batch: loss {loss}, gradient {norm}")
    return StepCheck(tokens, loss, norm, round(time.monotonic() - began, 2))
