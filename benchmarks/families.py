"""A tiny model of each family of causal language models: configuration in little, random weights, a byte tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.byte_tokenizer import VOCABULARY, write_byte_tokenizer

WEIGHT_SPREAD = 0.15  # wide enough apart that texts vary and no gradient is lost in rounding

USUAL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
USUAL |= {"intermediate_size": 48, "max_position_embeddings": 256}
GROUPED = {**USUAL, "num_key_value_heads": 2}
WIDE = {**GROUPED, "head_dim": 16}
OF_GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
LATENT = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 16, "qk_nope_head_dim": 16, "v_head_dim": 16}
LATENT |= {"n_routed_experts": 4, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1}
WINDOWED = {"sliding_window": 64}
SEEING = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
SEEING |= {"image_size": 28, "patch_size": 14}
NARROW = {"hidden_size_per_layer_input": 8, "laurel_rank": 8, "altup_num_inputs": 2, "num_kv_shared_layers": 2}

FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": OF_GPT2,
    "gpt_neo": {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "max_position_embeddings": 256}
    | {"attention_types": [[["global", "local"], 1]], "window_size": 64},
    "gptj": {**OF_GPT2, "rotary_dim": 4},
    "gpt_neox": USUAL,
    "opt": {**USUAL, "ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"hidden_size": 32, "n_layer": 2, "n_head": 4},
    "falcon": USUAL,
    "llama": GROUPED,
    "mistral": GROUPED,
    "qwen2": GROUPED,
    "qwen3": WIDE,
    "gemma": WIDE,
    "gemma2": WIDE | WINDOWED,
    "gemma3_text": WIDE | WINDOWED,
    "gemma3": {"text_config": WIDE | WINDOWED, "vision_config": SEEING, "mm_tokens_per_image": 4}
    | {"boi_token_index": 1, "eoi_token_index": 2, "image_token_index": 3},
    "gemma3n_text": WIDE
    | WINDOWED
    | NARROW
    | {"num_hidden_layers": 4, "vocab_size_per_layer_input": VOCABULARY}
    | {"layer_types": ["sliding_attention", "full_attention"] * 2, "activation_sparsity_pattern": [0.5, 0.0, 0.0, 0.0]},
    "phi": USUAL,
    "phi3": GROUPED,
    "smollm3": GROUPED,
    "granite": GROUPED,
    "olmo2": GROUPED,
    "olmo3": GROUPED,
    "stablelm": GROUPED,
    "starcoder2": GROUPED,
    "cohere": GROUPED,
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "mamba2": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
    | {"num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 16},
    "qwen3_moe": WIDE | EXPERTS | {"num_experts": 4},
    "mixtral": GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": WIDE | WINDOWED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v3": USUAL | EXPERTS | LATENT | {"num_key_value_heads": 4},
}


def write_family(folder: Path, family: str) -> Path:
    """Write a model folder of this family as transformers saves it."""
    from transformers import AutoConfig, AutoModelForCausalLM

    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    own, words = FAMILIES[family], {"vocab_size": VOCABULARY}
    if "text_config" in own:
        own = {**own, "text_config": {**own["text_config"], **words, **ends}}
    config = AutoConfig.for_model(family, **own, **ends, **(words if "text_config" not in own else {}))
    for part in (config, config.get_text_config(decoder=True)):
        if hasattr(part, "initializer_range"):
            part.initializer_range = WEIGHT_SPREAD
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    write_byte_tokenizer(folder)
    return folder
