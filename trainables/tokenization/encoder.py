"""A model's tokenizer with its special ids, and the length of its context (no torch)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainables.data.sources import TOKENIZER_FILES
from trainables.errors import UserError
from trainables.tokenization.end_tokens import declared_ends, embedding_rows
from trainables.tokenization.prompt_text import Encoded, PromptText, as_text, spells_special

if TYPE_CHECKING:
    from tokenizers import Tokenizer

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

    def encode_rendered(self, texts: Sequence[PromptText]) -> list[Encoded]:
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
