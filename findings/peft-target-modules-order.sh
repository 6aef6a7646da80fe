#!/usr/bin/env bash
# PEFT 0.21.2, the same adapter of the same seed saved by the same program, run several times.
# Guess: adapter_config.json is the same file each time, target_modules being written as the list that was given.
# Seen: the list is kept as a set, whose order changes with the hash seed of the process: the weights are the same
# bytes and the configuration is not, so a checksum over an adapter folder differs from run to run.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 peft==0.21.2 accelerate==1.15.0 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PY'
import hashlib
import json
import os
import subprocess
import sys
from importlib.metadata import version

PROGRAM = """
import logging, torch, warnings
warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
from transformers import LlamaConfig, LlamaForCausalLM
from peft import LoraConfig, get_peft_model
torch.manual_seed(0)
sizes = dict(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
get_peft_model(LlamaForCausalLM(LlamaConfig(**sizes)), LoraConfig(r=2, target_modules=names)).save_pretrained("out")
"""
orders, weights, configurations = [], set(), set()
for seed in "1234":
    subprocess.run([sys.executable, "-c", PROGRAM], env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
    text = open("out/adapter_config.json", "rb").read()
    orders.append(json.loads(text)["target_modules"])
    configurations.add(hashlib.sha256(text).hexdigest())
    weights.add(hashlib.sha256(open("out/adapter_model.safetensors", "rb").read()).hexdigest())
print("peft", version("peft"))
print(*orders, sep="\n")
print("distinct configurations:", len(configurations), "distinct weights:", len(weights))
same = all(sorted(order) == sorted(orders[0]) for order in orders)
sys.exit(not (same and len(weights) == 1 and len(configurations) > 1))
PY
