"""What rows of tokens look like under a prompt and a model: cut, too long to be written, badly joined (no torch)."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from trainables.data import Example
from trainables.plausible.embeddings import is_untrained
from trainables.plausible.texts import spread
from trainables.plausible.wording import excerpt, listed, where
from trainables.prompts import split_template
from trainables.tokens import Encoder, Row, build_row

LOOKED_AT = 64  # rows of a split
CHAT_MARKS = ("[INST]", "<|im_start|>", "<start_of_turn>", "### Instruction", "### Response")


@dataclass(frozen=True)
class Prompt:
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
    def rows(self) -> dict[str, list[Row]]:
        """Return rows of tokens by stage, of a sample of each."""
        stages = {"train": (self.training, 0)}
        stages |= {split: (examples, self.max_new_tokens) for split, examples in self.evaluated.items()}
        return {
            stage: [self._row(one, self.template, reserve) for one in spread(examples, LOOKED_AT)]
            for stage, (examples, reserve) in stages.items()
            if examples
        }

    def _row(self, example: Example, template: str, reserve: int) -> Row:
        return build_row(self.encoder, template, example, self.limit_tokens, reserve)

    def first_row(self, template: str) -> Row:
        """Return the row of one example under another template."""
        example = next(one for some in (self.training, *self.evaluated.values()) for one in some)
        return self._row(example, template, 0)

    def tokens(self, ids: Sequence[int]) -> str:
        """Return ids as their tokens are written in the vocabulary."""
        return " ".join(repr(self.encoder.tokenizer.id_to_token(index)) for index in ids)


def find(prompts: Sequence[Prompt]) -> list[str]:
    """Return a sentence for every mistake that the rows of a plan look like, with the prompts that share it."""
    sentences = []
    for check in CHECKS:
        found = {prompt.name: said for prompt in reversed(prompts) if prompt.rows and (said := check(prompt))}
        if found:
            first, *others = reversed(found)
            likewise = f" (likewise {listed([excerpt(name) for name in others])})" if others else ""
            sentences.append(found[first] + likewise)
    return sentences


def _too_short(prompt: Prompt) -> str | None:
    lengths = [len(row.target_ids) for stage, rows in prompt.rows.items() if stage != "train" for row in rows]
    if not lengths or statistics.median(lengths) <= prompt.max_new_tokens:
        return None
    longer = sum(length > prompt.max_new_tokens for length in lengths)
    return (
        f"max_new_tokens {prompt.max_new_tokens} cannot hold {longer} of {len(lengths)} references (median "
        f"{statistics.median(lengths):g} tokens with the end of text): good summaries would be cut and score low; "
        "raise --max-new-tokens"
    )


def _cut(prompt: Prompt) -> str | None:
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


def _no_cue(prompt: Prompt) -> str | None:
    if split_template(prompt.template)[1].strip():
        return None
    return (
        f"{prompt} has nothing after {{source}}: a model without training goes on with the source, and "
        "zero-shot scores say little; end it with a cue such as '\\n\\nSummary:'"
    )


def _ends_in_space(prompt: Prompt) -> str | None:
    """Show which tokens stand where prompt and summary meet, with the space and without it."""
    bare = prompt.template.rstrip(" \t")
    if bare == prompt.template:
        return None
    with_space, without = (_joint(prompt, template) for template in (prompt.template, bare))
    return (
        f"{prompt} ends in a space: prompt and summary meet as {with_space}, without it as {without}; "
        "most tokenizers join a space to the word after it, so the model has to write a token that seldom stands "
        "there; take the space away"
    )


def _joint(prompt: Prompt, template: str) -> str:
    """Return the last two tokens of the prompt and the first of the summary, a bar between them."""
    row = prompt.first_row(template)
    return f"{prompt.tokens(row.prompt_ids[-2:])} | {prompt.tokens(row.target_ids[:1])}"


def _plain_on_chat(prompt: Prompt) -> str | None:
    folder, encoder = prompt.folder, prompt.encoder
    chat = any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json"))
    if not chat and not _json_of(folder / "tokenizer_config.json").get("chat_template"):
        return None
    special = [token.content for token in encoder.tokenizer.get_added_tokens_decoder().values() if token.special]
    if any(mark in prompt.template for mark in (*special, *CHAT_MARKS)):
        return None
    return (
        f"{prompt.base} comes with a chat template and {prompt} is plain text: a model tuned to "
        "instructions answers best in its own form; write the prompt with the marks of its template, or take the base "
        "model that it was made from"
    )


def _untrained_end(prompt: Prompt) -> str | None:
    """The token that ends every trained summary must stop a text, and the base must have a vector of its own for it."""
    folder, encoder = prompt.folder, prompt.encoder
    token = encoder.tokenizer.id_to_token(encoder.eos_id)
    declared: dict[str, list[int]] = {}
    for name in ("config.json", "generation_config.json"):
        value = _json_of(folder / name).get("eos_token_id")
        ends = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)]
        declared |= {name: ends} if ends else {}
    stops = {one for ends in declared.values() for one in ends}
    if stops and encoder.eos_id not in stops:
        names = listed([f"{name} has {', '.join(map(str, ends))}" for name, ends in declared.items()])
        return (
            f"{prompt.base}: summaries are trained to end with {token!r} ({encoder.eos_id}), and {names} as the end "
            "of a text: a served adapter would write on; make tokenizer_config.json and these agree"
        )
    others = [index for index in encoder.tokenizer.get_added_tokens_decoder() if index != encoder.eos_id]
    if is_untrained(folder, encoder.eos_id, others):
        return (
            f"{prompt.base}: the embedding of {token!r} ({encoder.eos_id}), which ends every trained summary, is zero "
            "or that of another special token, so the base never learnt it: take the tokenizer whose end of text it did"
        )
    return None


CHECKS: tuple[Callable[[Prompt], str | None], ...] = (
    _too_short, _cut, _no_cue, _ends_in_space, _plain_on_chat, _untrained_end,
)  # fmt: skip


def _json_of(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # a damaged file is refused by whoever needs it
        return {}
