"""A tokenizer of the 256 bytes and an end of text, for tiny models: every text has ids, nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

END = "<|endoftext|>"
END_ID = 0
VOCABULARY = 257


def write_byte_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json` and its configuration into a model's folder."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate([END, *alphabet])}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(END, special=True)])
    tokenizer.save(str(folder / "tokenizer.json"))
    kind = {"tokenizer_class": "GPT2TokenizerFast", "eos_token": END, "bos_token": END, "unk_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind), encoding="utf-8")
