"""The tensors that a configuration asks for, of the families that people tune most (no torch).

It spares `plan` the seconds that torch takes to load: where a folder holds exactly these, nothing is missing. Of any
other folder and family the library itself decides (`completeness`), so that a table can never refuse what would load.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Shapes = dict[str, tuple[int, ...]]

# V vocabulary, D width, F width of the MLP, Q queries, K keys and values, H width of a head, P positions.
LLAMA = """
model.embed_tokens.weight V D
model.layers.*.input_layernorm.weight D
model.layers.*.self_attn.q_proj.weight Q D
model.layers.*.self_attn.k_proj.weight K D
model.layers.*.self_attn.v_proj.weight K D
model.layers.*.self_attn.o_proj.weight D Q
model.layers.*.post_attention_layernorm.weight D
model.layers.*.mlp.gate_proj.weight F D
model.layers.*.mlp.up_proj.weight F D
model.layers.*.mlp.down_proj.weight D F
model.norm.weight D
lm_head.weight V D
"""
QWEN2 = (
    LLAMA
    + """
model.layers.*.self_attn.q_proj.bias Q
model.layers.*.self_attn.k_proj.bias K
model.layers.*.self_attn.v_proj.bias K
"""
)
QWEN3 = (
    LLAMA
    + """
model.layers.*.self_attn.q_norm.weight H
model.layers.*.self_attn.k_norm.weight H
"""
)
PHI = """
model.embed_tokens.weight V D
model.layers.*.input_layernorm.weight D
model.layers.*.input_layernorm.bias D
model.layers.*.self_attn.q_proj.weight Q D
model.layers.*.self_attn.q_proj.bias Q
model.layers.*.self_attn.k_proj.weight K D
model.layers.*.self_attn.k_proj.bias K
model.layers.*.self_attn.v_proj.weight K D
model.layers.*.self_attn.v_proj.bias K
model.layers.*.self_attn.dense.weight D Q
model.layers.*.self_attn.dense.bias D
model.layers.*.mlp.fc1.weight F D
model.layers.*.mlp.fc1.bias F
model.layers.*.mlp.fc2.weight D F
model.layers.*.mlp.fc2.bias D
model.final_layernorm.weight D
model.final_layernorm.bias D
lm_head.weight V D
lm_head.bias V
"""
GPT2 = """
transformer.wte.weight V D
transformer.wpe.weight P D
transformer.h.*.ln_1.weight D
transformer.h.*.ln_1.bias D
transformer.h.*.attn.c_attn.weight D 3D
transformer.h.*.attn.c_attn.bias 3D
transformer.h.*.attn.c_proj.weight D D
transformer.h.*.attn.c_proj.bias D
transformer.h.*.ln_2.weight D
transformer.h.*.ln_2.bias D
transformer.h.*.mlp.c_fc.weight D F
transformer.h.*.mlp.c_fc.bias F
transformer.h.*.mlp.c_proj.weight F D
transformer.h.*.mlp.c_proj.bias D
transformer.ln_f.weight D
transformer.ln_f.bias D
lm_head.weight V D
"""
FAMILIES = {"llama": LLAMA, "mistral": LLAMA, "qwen2": QWEN2, "qwen3": QWEN3, "phi": PHI, "gpt2": GPT2}
HEAD = "lm_head.weight"


def expected_shapes(config: Mapping[str, Any]) -> Shapes | None:
    """Return name -> shape of all tensors that a model of this configuration has, None where it is not known."""
    table = FAMILIES.get(str(config.get("model_type")))
    sizes = _sizes(config)
    layers = _int(config, "num_hidden_layers", "n_layer")
    if table is None or layers is None or None in sizes.values():
        return None
    found: Shapes = {}
    for name, *symbols in (line.split() for line in table.split("\n") if line):
        shape = tuple(size for symbol in symbols if (size := sizes[symbol]) is not None)
        found |= {name.replace("*", str(layer)): shape for layer in range(layers if "*" in name else 1)}
    return found


def _sizes(config: Mapping[str, Any]) -> dict[str, int | None]:
    width, heads = _int(config, "hidden_size", "n_embd"), _int(config, "num_attention_heads", "n_head")
    keys = _int(config, "num_key_value_heads") or heads
    head = _int(config, "head_dim") or (width // heads if width and heads else None)
    is_gpt2 = config.get("model_type") == "gpt2"
    inner = _int(config, "n_inner") or (4 * width if width else None) if is_gpt2 else _int(config, "intermediate_size")
    return {
        "V": _int(config, "vocab_size"),
        "D": width,
        "3D": 3 * width if width else None,
        "F": inner,
        "Q": heads * head if heads and head else None,
        "K": keys * head if keys and head else None,
        "H": head,
        "P": _int(config, "n_positions", "max_position_embeddings"),
    }


def _int(config: Mapping[str, Any], *keys: str) -> int | None:
    return next((config[key] for key in keys if type(config.get(key)) is int), None)


def has_tied_head(config: Mapping[str, Any]) -> bool:
    """Tell whether the output head is the embedding itself, by the configuration or its family's default."""
    return bool(config.get("tie_word_embeddings", config.get("model_type") == "gpt2"))
