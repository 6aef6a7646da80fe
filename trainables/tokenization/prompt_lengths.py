"""How examples fit a model's context under each prompt, and the refusal where too few do (no torch)."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainables.data.corpus import Example
from trainables.errors import UserError
from trainables.prompts import split_template
from trainables.tokenization.encoder import Encoder

if TYPE_CHECKING:
    pass
from trainables.tokenization.token_rows import LEAST_SOURCE_TOKENS, build_rows


@dataclass(frozen=True)
class PromptLengths:
    """How the examples of one prompt fit, all lengths in tokens."""

    prompt: str
    examples: int
    fit: int
    cut: int
    instruction_tokens: int
    cue_tokens: int
    source_tokens_median: float
    target_tokens_median: float
    target_tokens_max: int
    limit_tokens: int
    reserve_tokens: int


def lengths(
    encoder: Encoder,
    prompt: str,
    template: str,
    examples: Sequence[Example],
    limit_tokens: int,
    reserve_tokens: int = 0,
) -> PromptLengths:
    """Measure how the examples fit under one prompt."""
    instruction, cue = (len(encoder.encode(part)) for part in split_template(template))
    fixed = len(encoder.bos_ids) + instruction + cue
    rows = build_rows(encoder, template, examples, limit_tokens, reserve_tokens)
    targets = [len(row.target_ids) for row in rows]
    sources = [len(row.prompt_ids) - fixed + row.source_tokens_cut for row in rows]
    return PromptLengths(
        prompt=prompt,
        examples=len(rows),
        fit=sum(row.fits for row in rows),
        cut=sum(row.source_tokens_cut > 0 for row in rows),
        instruction_tokens=instruction + len(encoder.bos_ids),
        cue_tokens=cue,
        source_tokens_median=statistics.median(sources),
        target_tokens_median=statistics.median(targets),
        target_tokens_max=max(targets),
        limit_tokens=limit_tokens,
        reserve_tokens=reserve_tokens,
    )


def check_lengths(
    encoder: Encoder,
    prompts: Mapping[str, str],
    examples: Sequence[Example],
    limit_tokens: int,
    reserve_tokens: int = 0,
    stage: str = "evaluation",
) -> list[PromptLengths]:
    """Return the lengths per prompt (name -> template); raises UserError where more than half does not fit."""
    for name, template in prompts.items():
        _check_start(encoder, name, template)
    measured = [
        lengths(encoder, name, template, examples, limit_tokens, reserve_tokens)
        for name, template in prompts.items()
        if examples
    ]
    failing = [found for found in measured if 2 * found.fit < found.examples]
    if failing:
        raise UserError("; ".join(_does_not_fit(found, stage) for found in failing))
    return measured


def _check_start(encoder: Encoder, name: str, template: str) -> None:
    """Raise UserError where a template spells what the tokenizer puts before every text: it would be there twice."""
    first = tuple(encoder.encode(split_template(template)[0]))[: len(encoder.bos_ids)]
    if encoder.bos_ids and first == encoder.bos_ids:
        spelled = "".join(encoder.special.get(index, "") for index in first)
        raise UserError(
            f"prompt {name!r} begins with {spelled}, which the tokenizer puts before every text: leave it out of the "
            "prompt, or it would stand there twice"
        )


def _does_not_fit(found: PromptLengths, stage: str) -> str:
    reserve = f", max_new_tokens {found.reserve_tokens}" if found.reserve_tokens else ""
    lower = ", lower max_new_tokens" if found.reserve_tokens else ""
    return (
        f"prompt {found.prompt!r} does not fit: {found.examples - found.fit} of {found.examples} {stage} examples "
        f"leave fewer than {LEAST_SOURCE_TOKENS} tokens of the source within {found.limit_tokens} tokens "
        f"(instruction {found.instruction_tokens}, cue {found.cue_tokens}, target {found.target_tokens_median:g} in "
        f"the median and {found.target_tokens_max} at most{reserve}); "
        f"shorten the prompt{lower} or take a model with a longer context"
    )
