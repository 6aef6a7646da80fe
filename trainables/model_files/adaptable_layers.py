"""Which layers of a model can have no adapter, and why: by PEFT's rules and transformers' classes (no torch).

The rules are copies, so that a plan need not load either; a test compares them with the libraries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# peft.tuners.tuners_utils: their fast kernels read these weights beside the layers.
MAMBA = frozenset(("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h"))
NOT_IN_MAMBA = frozenset(("out_proj", "conv1d"))
# peft.utils.transformers_weight_conversion: layers of these names are taken for the experts' of earlier versions, also
# where a dense layer or a shared expert has the name.
MIXTRAL = frozenset(("mixtral", "minimax", "minimax_m2"))
NOT_IN_MIXTRAL = frozenset(("gate", "w1", "w2", "w3"))
QWEN_MOE = frozenset(
    (
        "Dots3NoteTextModel",
        "UnlimitedOcrTextModel",
        "afmoe",
        "beam",
        "cohere2_moe",
        "deepseek_v2",
        "deepseek_v3",
        "deepseek_v32",
        "dots1",
        "ernie4_5_moe",
        "exaone_moe",
        "flex_olmo",
        "glm4_moe",
        "glm4_moe_lite",
        "glm4v_moe",
        "glm_moe_dsa",
        "hunyuan_v1_moe",
        "longcat_flash",
        "mellum",
        "olmoe",
        "qwen3_moe",
        "qwen3_next",
        "qwen3_omni_moe",
        "qwen3_omni_moe_text",
        "qwen3_omni_moe_thinker",
        "solar_open",
    )
)
NOT_IN_QWEN_MOE = frozenset(("gate", "gate_proj", "up_proj", "down_proj"))
# Gemma 3n multiplies with their weights itself as it trains, past any adapter.
COEFFICIENTS = frozenset(("prediction_coefs", "correction_coefs"))
ROUTERS = frozenset(("gate", "router"))
# What sees images and sounds, as multimodal families call it in their files.
TOWERS = frozenset(
    (
        "vision_tower",
        "vision_model",
        "vision_encoder",
        "visual",
        "image_newline",
        "multi_modal_projector",
        "mm_projector",
        "vision_projector",
        "audio_tower",
        "audio_model",
        "audio_encoder",
        "embed_vision",
        "embed_audio",
    )
)


def refusal(config: Mapping[str, Any], layer: str) -> str | None:
    """Return why a layer, by its full name, can have no adapter; None where it can. `config`: of config.json."""
    kind, parts = str(config.get("model_type")), layer.split(".")
    last = parts[-1]
    if kind in MAMBA and last in NOT_IN_MAMBA:
        return f"PEFT refuses it in {kind}, whose kernels read its weight themselves"
    if (kind in MIXTRAL and last in NOT_IN_MIXTRAL) or (kind in QWEN_MOE and last in NOT_IN_QWEN_MOE):
        return "PEFT takes it for the experts' layer of that name, which sees chosen tokens in place of rows"
    if "experts" in parts:
        return (
            "an expert sees chosen tokens in place of rows, and transformers fuses its layers with those of the others"
        )
    if last in COEFFICIENTS:
        return "in training the model multiplies with its weight itself"
    if last in ROUTERS and _has_experts(config):
        return "what chooses experts is no linear layer"
    if not TOWERS.isdisjoint(parts):
        return "no text reaches it"
    return None


def _has_experts(config: Mapping[str, Any]) -> bool:
    return any(
        "expert" in key and value for part in (config, config.get("text_config") or {}) for key, value in part.items()
    )
