#!/usr/bin/env bash
# PEFT 0.21.2 over transformers 5.23.0, DeepSeek-V3: target_modules=["down_proj"].
# Guess: an adapter on every linear layer of that name: the dense layer's MLP and the shared expert's.
# Seen: the name is taken for the routed experts' fused parameter alone, without a word; the linear layers that still
# have it, the dense MLP's and the shared expert's, get no adapter.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 peft==0.21.2
cd "$place"
"$place/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, DeepseekV3Config

config = DeepseekV3Config(
    vocab_size=64, hidden_size=32, intermediate_size=48, moe_intermediate_size=24, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, n_group=2, topk_group=1,
    first_k_dense_replace=1, kv_lora_rank=16, q_lora_rank=16, qk_rope_head_dim=16, qk_nope_head_dim=16, v_head_dim=16,
)
model = AutoModelForCausalLM.from_config(config)
linear = [name for name, module in model.named_modules() if name.endswith(".down_proj")]
adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["down_proj"], task_type="CAUSAL_LM"))
trained = sorted({name.split(".lora_")[0] for name, one in adapted.named_parameters() if one.requires_grad})
print("peft", version("peft"), "transformers", version("transformers"))
print("linear layers of the name:", linear)
print("adapted:", trained)
sys.exit(not (len(linear) == 2 and len(trained) == 1 and "experts" in trained[0]))
PY
