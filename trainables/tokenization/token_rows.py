"""From an example to token rows: what is cut is the end of the source, never instruction, cue or summary (no torch).

A row is  bos | prompt | summary | end-of-text.  Prompt and summary are tokenised as one text, as whoever sends the
prompt later has it, and a source that is too long is cut as text (`prompt_text`). Training, loss and
generation read one and the same prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainables.data.corpus import Example
from trainables.prompts import split_template
from trainables.tokenization.encoder import Encoder
from trainables.tokenization.prompt_text import Cut, PromptText, prompt_of, seam_of, with_summary

LEAST_SOURCE_TOKENS = 32
BATCH = 512  # examples that are tokenised at a time


@dataclass(frozen=True)
class TokenRow:
    """An example as tokens; `fits` is False where too little of the source is left to summarize."""

    example_id: str
    prompt_ids: tuple[int, ...]
    target_ids: tuple[int, ...]
    source_tokens_cut: int
    fits: bool


def build_row(
    encoder: Encoder,
    template: str,
    example: Example,
    limit_tokens: int,
    reserve_tokens: int = 0,
    tokenization: str = "either",
) -> TokenRow:
    """Tokenise an example so that prompt and what follows it stay within `limit_tokens`.

    `reserve_tokens` are kept free after the prompt, at least as many as the target needs: 0 in training,
    max_new_tokens in evaluation. A row fits if its source is whole or at least 32 tokens of it are left.
    """
    (row,) = build_rows(encoder, template, [example], limit_tokens, reserve_tokens, tokenization)
    return row


def build_rows(
    encoder: Encoder,
    template: str,
    examples: Sequence[Example],
    limit_tokens: int,
    reserve_tokens: int = 0,
    tokenization: str = "either",
) -> list[TokenRow]:
    """Tokenise examples as `build_row` does, many at a time: on all cores."""
    if tokenization == "parts":
        return [_row_of_parts(encoder, template, one, limit_tokens, reserve_tokens) for one in examples]
    rows: list[TokenRow] = []
    for first in range(0, len(examples), BATCH):
        rows += _rows(encoder, template, examples[first : first + BATCH], limit_tokens, reserve_tokens)
    return rows


def _rows(encoder: Encoder, template: str, examples: Sequence[Example], limit: int, reserve: int) -> list[TokenRow]:
    found: list[TokenRow | None] = [None] * len(examples)
    tried = {number: Cut.none(template, example.source) for number, example in enumerate(examples)}
    while tried:
        pairs = _pairs(encoder, template, [(cut.prompt, examples[number]) for number, cut in tried.items()])
        left: dict[int, Cut] = {}
        for (number, cut), (prompt, offsets, target) in zip(tried.items(), pairs, strict=True):
            ids = (*encoder.bos_ids, *prompt)
            over = len(ids) + max(reserve, len(target)) - limit
            row = TokenRow(
                examples[number].id, ids, target, cut.tokens_cut, cut.is_whole or cut.kept >= LEAST_SOURCE_TOKENS
            )
            following = cut.following(over, offsets, row)
            if isinstance(following, Cut):
                left[number] = following
            else:
                found[number] = following
        tried = left
    return [row for row in found if row is not None]


def _pairs(
    encoder: Encoder, template: str, texts: Sequence[tuple[PromptText, Example]]
) -> list[tuple[Sequence[int], Sequence[tuple[int, int]], tuple[int, ...]]]:
    """Return the ids of each prompt with the places they stand for, and the ids that follow it, end-of-text included.

    Where prompt and summary as one text do not begin with the prompt's ids (the prompt ends in a space that a word
    would take), the prompt is kept as it will be sent, and the summary is tokenised apart.
    """
    wholes = encoder.encode_rendered([with_summary(text, example.references[0]) for text, example in texts])
    last = encoder.encode_rendered([prompt_of(template, "")])[0].ids[-1:]
    found: list[tuple[Sequence[int], Sequence[tuple[int, int]], tuple[int, ...]]] = []
    for (text, example), whole in zip(texts, wholes, strict=True):
        ids, offsets = whole.ids, whole.offsets
        seam = seam_of(text.text, ids, offsets, last)
        if seam is None:
            (prompt,) = encoder.encode_rendered([text])
            seam = len(prompt.ids)
            if ids[:seam] != prompt.ids:
                found.append((prompt.ids, prompt.offsets, tuple(encoder.encode_target(example.references[0]))))
                continue
        found.append((ids[:seam], offsets[:seam], (*ids[seam:], encoder.eos_id)))
    return found


def _row_of_parts(encoder: Encoder, template: str, example: Example, limit: int, reserve: int) -> TokenRow:
    """Tokenise instruction, source, cue and summary apart, as trials until 2026-11-30 did."""
    instruction, cue = (encoder.encode(part) for part in split_template(template))
    source = encoder.encode_plain(example.source)
    target = encoder.encode_target(example.references[0])
    room = limit - len(encoder.bos_ids) - len(instruction) - len(cue) - max(reserve, len(target))
    kept = max(0, min(room, len(source)))
    return TokenRow(
        example_id=example.id,
        prompt_ids=(*encoder.bos_ids, *instruction, *source[:kept], *cue),
        target_ids=tuple(target),
        source_tokens_cut=len(source) - kept,
        fits=room >= min(len(source), LEAST_SOURCE_TOKENS),
    )
