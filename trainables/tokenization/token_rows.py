"""From an example to token rows: what is cut is the end of the source, never instruction, cue or summary (no torch).

A row is  bos | prompt | summary | end-of-text.  Prompt and summary are tokenised as one text, as whoever sends the
prompt later has it, and a source that is too long is cut as text (`prompt_text`). Training, loss and
generation read one and the same prompt.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.data.corpus import Example
from trainables.data.sources import TOKENIZER_FILES
from trainables.errors import UserError
from trainables.prompts import split_template
from trainables.tokenization.end_tokens import declared_ends, embedding_rows
from trainables.tokenization.prompt_text import (
    Cut,
    Encoded,
    Rendered,
    as_text,
    prompt_of,
    seam_of,
    spells_special,
    with_summary,
)

if TYPE_CHECKING:
    from tokenizers import Tokenizer

LEAST_SOURCE_TOKENS = 32
BATCH = 512  # examples that are tokenised at a time
SPACE_MARKS = ("\u2581", "\u0120")  # of Llama's kind, of GPT-2's
CONTEXT_KEYS = ("n_positions", "max_position_embeddings", "n_ctx", "seq_length", "max_seq_len", "max_sequence_length")


@dataclass(frozen=True)
class Encoder:
    """A tokenizer with its special ids; `bos_ids` is what it puts before a text, empty where it puts nothing."""

    tokenizer: Tokenizer
    plain_tokenizer: Tokenizer
    eos_id: int  # that is trained
    eos_ids: tuple[int, ...]  # that stop a text
    pad_id: int
    bos_ids: tuple[int, ...]
    vocabulary: int
    starts_with_space: bool

    @cached_property
    def special(self) -> dict[int, str]:
        """Return the special tokens by id, as they are spelled."""
        added = self.tokenizer.get_added_tokens_decoder()
        return {index: token.content for index, token in added.items() if token.special}

    def encode(self, text: str) -> list[int]:
        """Return the ids of a template's text; special tokens that it spells out are recognised, none is added."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_plain(self, text: str) -> list[int]:
        """Return the ids of a user's text: what looks like a special token in it stays plain text."""
        return list(self.plain_tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_target(self, summary: str) -> list[int]:
        """Return the ids of a space, the summary and the end-of-text token."""
        # Tokenizers in the manner of Llama put that space before any text themselves.
        space = "" if self.starts_with_space else " "
        return [*self.encode_plain(space + summary.strip()), self.eos_id]

    def encode_rendered(self, texts: Sequence[Rendered]) -> list[Encoded]:
        """Return the tokens of whole texts: special where a template spells one, text where an example does."""
        plain = [one.text for one in texts]
        several = len(plain) > 1
        found = self.tokenizer.encode_batch(plain, add_special_tokens=False) if several else [self._tokens(*plain)]
        return [
            as_text(self.tokenizer, self.plain_tokenizer, one, tokens, self.special)
            if spells_special(one, tokens, self.special)
            else tokens
            for one, tokens in zip(texts, found, strict=True)
        ]

    def _tokens(self, text: str) -> Encoded:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens and ids that the vocabulary lacks left out."""
        # Ids need not be dense: how many there are says nothing about the largest.
        return str(self.tokenizer.decode([index for index in ids if index >= 0]))


def load_encoder(folder: str | Path, backend: str | None = None) -> Encoder:
    """Load a model folder's tokenizer, or the one that `backend` holds as JSON.

    Raises:
        UserError: it is absent, damaged or has no end-of-text token.
    """
    folder = Path(folder)
    tokenizer, plain = _load(folder, backend), _load(folder, backend)
    plain.encode_special_tokens = True
    named = _special_tokens(folder)
    config = _read(folder / "config.json")
    eos = _special_id(tokenizer, named.get("eos_token"), config.get("eos_token_id"))
    if eos is None:
        raise UserError(f"the tokenizer in {folder} has no end-of-text token: a summary could not end")
    pad = _special_id(tokenizer, named.get("pad_token"), config.get("pad_token_id"))
    rows = embedding_rows(folder)
    if pad is None or (rows is not None and pad >= rows):  # a token that was added without resizing the model
        pad = eos
    with_special = tokenizer.encode("a", add_special_tokens=True)
    bos = [index for index, special in zip(with_special.ids, with_special.special_tokens_mask, strict=True) if special]
    bare = tokenizer.encode("a", add_special_tokens=False)
    return Encoder(
        tokenizer=tokenizer,
        plain_tokenizer=plain,
        eos_id=eos,
        eos_ids=declared_ends(folder) or (eos,),
        pad_id=pad,
        bos_ids=tuple(bos[: with_special.ids.index(bare.ids[0])]) if bos and bare.ids else (),
        vocabulary=tokenizer.get_vocab_size(with_added_tokens=True),
        starts_with_space=bool(bare.tokens) and bare.tokens[0].startswith(SPACE_MARKS),
    )


def context_length(folder: str | Path) -> int | None:
    """Return how many tokens the model of a folder takes at most, None where its configuration does not say."""
    config = _read(Path(folder) / "config.json")
    for part in (config, config.get("text_config") or {}):
        for key in CONTEXT_KEYS:
            if isinstance(part.get(key), int) and part[key] > 0:
                return int(part[key])
    return None


def _load(folder: Path, backend: str | None = None) -> Tokenizer:
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise UserError(f"{folder} has no tokenizer (none of {', '.join(TOKENIZER_FILES)})")
    try:
        if backend is not None:
            tokenizer = Tokenizer.from_str(backend)
        else:
            of_file = path.is_file()
            tokenizer = _spaced(Tokenizer.from_file(str(path)), folder) if of_file else _converted(folder)
    except Exception as error:  # the library raises bare Exception
        raise UserError(f"the tokenizer in {folder} cannot be read: {str(error).splitlines()[0]}") from None
    tokenizer.no_truncation()  # some files carry the settings of whoever saved them
    tokenizer.no_padding()
    return tokenizer


def _spaced(tokenizer: Tokenizer, folder: Path) -> Tokenizer:
    """Put a space before every text where the folder asks for that and its class heeds it, as GPT-2's does."""
    config = _read(folder / "tokenizer_config.json")
    wanted, before = config.get("add_prefix_space"), tokenizer.pre_tokenizer
    heeded = config.get("tokenizer_class") not in ("TokenizersBackend", "PreTrainedTokenizerFast")
    if isinstance(wanted, bool) and heeded and hasattr(before, "add_prefix_space"):
        before.add_prefix_space = wanted
    return tokenizer


def _converted(folder: Path) -> Tokenizer:
    """Convert an older tokenizer (vocab.json and merges.txt, tokenizer.model); imports transformers."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True).backend_tokenizer


def _special_tokens(folder: Path) -> dict[str, Any]:
    return {**_read(folder / "special_tokens_map.json"), **_read(folder / "tokenizer_config.json")}


def _special_id(tokenizer: Tokenizer, token: Any, configured: Any) -> int | None:
    content = token.get("content") if isinstance(token, dict) else token
    named = tokenizer.token_to_id(content) if isinstance(content, str) else None
    if named is not None:
        return named
    if isinstance(configured, list):  # several ends: the first is the model's own
        configured = configured[0] if configured else None
    return configured if isinstance(configured, int) and configured >= 0 else None


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error})") from None


# --- rows ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
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
) -> Row:
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
) -> list[Row]:
    """Tokenise examples as `build_row` does, many at a time: on all cores."""
    if tokenization == "parts":
        return [_row_of_parts(encoder, template, one, limit_tokens, reserve_tokens) for one in examples]
    rows: list[Row] = []
    for first in range(0, len(examples), BATCH):
        rows += _rows(encoder, template, examples[first : first + BATCH], limit_tokens, reserve_tokens)
    return rows


def _rows(encoder: Encoder, template: str, examples: Sequence[Example], limit: int, reserve: int) -> list[Row]:
    found: list[Row | None] = [None] * len(examples)
    tried = {number: Cut.none(template, example.source) for number, example in enumerate(examples)}
    while tried:
        pairs = _pairs(encoder, template, [(cut.prompt, examples[number]) for number, cut in tried.items()])
        left: dict[int, Cut] = {}
        for (number, cut), (prompt, offsets, target) in zip(tried.items(), pairs, strict=True):
            ids = (*encoder.bos_ids, *prompt)
            over = len(ids) + max(reserve, len(target)) - limit
            row = Row(examples[number].id, ids, target, cut.tokens_cut, cut.is_whole or cut.kept >= LEAST_SOURCE_TOKENS)
            following = cut.following(over, offsets, row)
            if isinstance(following, Cut):
                left[number] = following
            else:
                found[number] = following
        tried = left
    return [row for row in found if row is not None]


def _pairs(
    encoder: Encoder, template: str, texts: Sequence[tuple[Rendered, Example]]
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


def _row_of_parts(encoder: Encoder, template: str, example: Example, limit: int, reserve: int) -> Row:
    """Tokenise instruction, source, cue and summary apart, as trials until 2026-11-30 did."""
    instruction, cue = (encoder.encode(part) for part in split_template(template))
    source = encoder.encode_plain(example.source)
    target = encoder.encode_target(example.references[0])
    room = limit - len(encoder.bos_ids) - len(instruction) - len(cue) - max(reserve, len(target))
    kept = max(0, min(room, len(source)))
    return Row(
        example_id=example.id,
        prompt_ids=(*encoder.bos_ids, *instruction, *source[:kept], *cue),
        target_ids=tuple(target),
        source_tokens_cut=len(source) - kept,
        fits=room >= min(len(source), LEAST_SOURCE_TOKENS),
    )


@dataclass(frozen=True)
class Lengths:
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
) -> Lengths:
    """Measure how the examples fit under one prompt."""
    instruction, cue = (len(encoder.encode(part)) for part in split_template(template))
    fixed = len(encoder.bos_ids) + instruction + cue
    rows = build_rows(encoder, template, examples, limit_tokens, reserve_tokens)
    targets = [len(row.target_ids) for row in rows]
    sources = [len(row.prompt_ids) - fixed + row.source_tokens_cut for row in rows]
    return Lengths(
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
) -> list[Lengths]:
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


def _does_not_fit(found: Lengths, stage: str) -> str:
    reserve = f", max_new_tokens {found.reserve_tokens}" if found.reserve_tokens else ""
    lower = ", lower max_new_tokens" if found.reserve_tokens else ""
    return (
        f"prompt {found.prompt!r} does not fit: {found.examples - found.fit} of {found.examples} {stage} examples "
        f"leave fewer than {LEAST_SOURCE_TOKENS} tokens of the source within {found.limit_tokens} tokens "
        f"(instruction {found.instruction_tokens}, cue {found.cue_tokens}, target {found.target_tokens_median:g} in "
        f"the median and {found.target_tokens_max} at most{reserve}); "
        f"shorten the prompt{lower} or take a model with a longer context"
    )
