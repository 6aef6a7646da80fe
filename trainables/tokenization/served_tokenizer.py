"""The tokenizer of a model folder as whoever serves it gets it: what transformers' AutoTokenizer makes of it.

The class that a folder names may build another tokenizer than `tokenizer.json` holds (LlamaTokenizer leaves out its
normalizer): what is trained are the ids of the class. The light verbs, which load no transformers, read the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from trainables.data.corpus import Example
from trainables.tokenization.encoder import Encoder, load_encoder
from trainables.tokenization.prompt_text import prompt_of, spells_special
from trainables.tokenization.token_rows import build_rows

COMPARED = 32  # prompts


@lru_cache(maxsize=8)
def _auto(folder: Path, trust_remote_code: bool) -> Any:
    """Return what AutoTokenizer makes of a folder, None where it makes nothing of it."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception:  # of any kind: a class that is not there, files that it wants beside the one that suffices here
        return None


@lru_cache(maxsize=4)
def load_served(folder: str | Path, trust_remote_code: bool = False) -> Encoder:
    """Load a model folder's tokenizer as AutoTokenizer does, or by its file where that gives no fast one."""
    backend = getattr(_auto(Path(folder), trust_remote_code), "backend_tokenizer", None)
    return load_encoder(folder, None if backend is None else backend.to_str())


def differences(
    folder: str | Path, name: str, template: str, examples: Sequence[Example], trust_remote_code: bool = False
) -> list[str]:
    """Return in sentences where AutoTokenizer's ids of rendered prompts are not those of the file or not those trained.

    Compared are as many of `examples` as tell; one that spells a special token is left out: that stays text here.
    """
    auto = _auto(Path(folder), trust_remote_code)
    if auto is None:
        return [f"{name}: AutoTokenizer cannot load this folder's tokenizer; the ids are those of tokenizer.json"]
    served, light = load_served(folder, trust_remote_code), load_encoder(folder)
    chosen = examples[:: max(1, len(examples) // COMPARED)][:COMPARED]
    texts = [prompt_of(template, one.source) for one in chosen]
    found = [(text, auto(text.text).input_ids) for text in texts]
    plain = [
        number
        for number, text in enumerate(texts)
        if not spells_special(text, served.tokenizer.encode(text.text, add_special_tokens=False), served.special)
    ]
    said = []
    for encoder, what, then in (
        (light, "tokenizer.json", "those of AutoTokenizer are trained, plan and show count by the file"),
        (served, "what is trained", "nothing is put behind a prompt here, as a summary follows it"),
    ):
        rows = build_rows(encoder, template, chosen, 2**30)
        other = [number for number in plain if list(rows[number].prompt_ids) != list(found[number][1])]
        if other:
            said.append(
                f"{name}: AutoTokenizer ({type(auto).__name__}) gives other ids than {what} for {len(other)} of "
                f"{len(plain)} prompts; {then}"
            )
    return said
