"""What rows of tokens look like under a prompt and a model: cut, too long to be written, badly joined (no torch)."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from trainables.data.corpus import Example
from trainables.prompts import split_template
from trainables.sanity_checks.embedding_rows import is_untrained
from trainables.sanity_checks.texts import spread
from trainables.sanity_checks.wording import excerpt, listed, where
from trainables.tokenization.encoder import Encoder
from trainables.tokenization.token_rows import TokenRow, build_row, build_rows

LOOKED_AT = 64  # rows of a split
MOST_CHARACTERS = 64  # of a token: more than the longest of any usual vocabulary
UNCUT = 2**30  # tokens
CHAT_MARKS = ("[INST]", "<|im_start|>", "<start_of_turn>", "### Instruction", "### Response")


@dataclass(frozen=True)
class PromptUsage:
    """One prompt on one model, as trials of a plan use it together, with the examples that they read.

    `training` is empty where only baselines use it.
    """

    name: str
    template: str
    model: str
    encoder: Encoder
    folder: Path
    limit_tokens: int
    max_new_tokens: int
    training: Sequence[Example]
    evaluated: Mapping[str, Sequence[Example]]

    def __str__(self) -> str:
        return f"prompt {excerpt(self.name)}"

    @property
    def base(self) -> str:
        """Return the model's name as it can be shown."""
        return excerpt(self.model)

    @cached_property
    def rows(self) -> dict[str, list[TokenRow]]:
        """Return rows of tokens by stage, of a sample of each."""
        stages = {"train": (self.training, 0)}
        stages |= {split: (examples, self.max_new_tokens) for split, examples in self.evaluated.items()}
        return {
            stage: build_rows(self.encoder, self.template, self._looked_at(examples), self.limit_tokens, reserve)
            for stage, (examples, reserve) in stages.items()
            if examples
        }

    def _looked_at(self, examples: Sequence[Example]) -> list[Example]:
        """Return a sample, of long sources as much as tells that they are cut: tokenizing megabytes takes minutes."""
        most = self.limit_tokens * MOST_CHARACTERS
        return [
            one if len(one.source) <= most else replace(one, source=one.source[:most])
            for one in spread(examples, LOOKED_AT)
        ]

    @property
    def example(self) -> Example:
        """Return one example that is read under the prompt."""
        return next(one for some in (self.training, *self.evaluated.values()) for one in some)

    def tokens(self, ids: Sequence[int]) -> str:
        """Return ids as their tokens are written in the vocabulary."""
        return " ".join(repr(self.encoder.tokenizer.id_to_token(index)) for index in ids)


def find(prompts: Sequence[PromptUsage]) -> list[str]:
    """Return a sentence for every mistake that the rows of a plan look like, with the prompts that share it."""
    sentences = []
    for check in CHECKS:
        found = {prompt.name: said for prompt in reversed(prompts) if prompt.rows and (said := check(prompt))}
        if found:
            first, *others = reversed(found)
            likewise = f" (likewise {listed([excerpt(name) for name in others])})" if others else ""
            sentences.append(found[first] + likewise)
    return sentences


def _too_short(prompt: PromptUsage) -> str | None:
    lengths = [len(row.target_ids) for stage, rows in prompt.rows.items() if stage != "train" for row in rows]
    if not lengths or statistics.median(lengths) <= prompt.max_new_tokens:
        return None
    longer = sum(length > prompt.max_new_tokens for length in lengths)
    return (
        f"max_new_tokens {prompt.max_new_tokens} cannot hold {longer} of {len(lengths)} references (median "
        f"{statistics.median(lengths):g} tokens with the end of text): good summaries would be cut and score low; "
        "raise --max-new-tokens"
    )


def _cut(prompt: PromptUsage) -> str | None:
    found = {}
    for stage, rows in prompt.rows.items():
        cut = sum(row.source_tokens_cut > 0 for row in rows)
        if 2 * cut > len(rows):
            found[stage] = (cut, len(rows))
    if not found:
        return None
    return (
        f"{prompt}: the source is cut in {where(found)} looked at, within {prompt.limit_tokens} tokens: "
        "the summary then tells what the model never reads; raise max_length_tokens or take a model with a longer "
        "context"
    )


def _no_cue(prompt: PromptUsage) -> str | None:
    if split_template(prompt.template)[1].strip():
        return None
    return (
        f"{prompt} has nothing after {{source}}: a model without training goes on with the source, and "
        "zero-shot scores say little; end it with a cue such as '\\n\\nSummary:'"
    )


def _ends_in_space(prompt: PromptUsage) -> str | None:
    """Show which tokens stand where prompt and summary meet, with the space and without it."""
    bare = prompt.template.rstrip(" \t")
    if bare == prompt.template:
        return None
    example, encoder = prompt.example, prompt.encoder
    ours, without = (build_row(encoder, template, example, UNCUT) for template in (prompt.template, bare))
    shown, own, alone = prompt.tokens, ours.target_ids[:1], encoder.encode_plain(example.references[0])[:1]
    differs = "" if tuple(alone) == own else f" (alone it would begin with {shown(alone)})"
    return (
        f"{prompt} ends in a space: its tokens end in {shown(ours.prompt_ids[-2:])} and the summary begins with "
        f"{shown(own)}{differs}, where without the space it begins with {shown(without.target_ids[:1])} after "
        f"{shown(without.prompt_ids[-1:])}: most tokenizers join a space to the word after it, so a base has hardly "
        "read the former; take the space away"
    )


def _plain_on_chat(prompt: PromptUsage) -> str | None:
    folder = prompt.folder
    chat = any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json"))
    if not chat and not _json_of(folder / "tokenizer_config.json").get("chat_template"):
        return None
    if any(mark in prompt.template for mark in (*prompt.encoder.special.values(), *CHAT_MARKS)):
        return None
    return (
        f"{prompt.base} comes with a chat template and {prompt} is plain text: a model tuned to "
        "instructions answers best in its own form; write the prompt with the marks of its template, or take the base "
        "model that it was made from"
    )


def _untrained_end(prompt: PromptUsage) -> str | None:
    """The base must have a vector of its own for the token that ends every summary; that it stops is checked before."""
    encoder = prompt.encoder
    others = [index for index in encoder.tokenizer.get_added_tokens_decoder() if index != encoder.eos_id]
    if is_untrained(prompt.folder, encoder.eos_id, others):
        return (
            f"{prompt.base}: the embedding of {prompt.tokens([encoder.eos_id])}, which ends every trained summary, is "
            "zero or that of another special token, so the base never learnt it: take the "
            "tokenizer whose end of text it did"
        )
    return None


CHECKS: tuple[Callable[[PromptUsage], str | None], ...] = (
    _too_short, _cut, _no_cue, _ends_in_space, _plain_on_chat, _untrained_end,
)  # fmt: skip


def _json_of(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # a damaged file is refused by whoever needs it
        return {}
