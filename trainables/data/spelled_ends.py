"""Ends of text that stand spelled out in summaries, left by whoever made the data for one model (no torch)."""

from __future__ import annotations

# Of the tokenizers that summaries are made for. The model's own end is trained behind every summary in any case.
ENDS = (
    "</s>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|end|>",
    "<end_of_turn>",
    "<|return|>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<eos>",
    "[EOS]",
)


def without_end(text: str) -> tuple[str, str]:
    """Return a text without the ends that it ends in, and the last of them; a `</s>` that closes an <s> is none."""
    found = ""
    while end := next((one for one in ENDS if text.endswith(one)), ""):
        if end == "</s>" and "<s>" in text:
            break
        text, found = text.removesuffix(end).rstrip(), found or end
    return text, found
