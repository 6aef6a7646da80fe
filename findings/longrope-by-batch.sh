#!/usr/bin/env bash
# One might guess that a row of a batch has the rotary factors of its own length. transformers' longrope (Phi-3 with a
# long context) chooses short or long factors by the longest position in the whole batch: the same row, padded nowhere
# and masked rightly, has other logits beside a long neighbour than alone.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0
"$place/venv/bin/python" - <<'PY'
import torch
import transformers
from transformers import AutoModelForCausalLM, Phi3Config

transformers.utils.logging.set_verbosity_error()
torch.manual_seed(0)
factors = {"short_factor": [1.0] * 8, "long_factor": [1.5 + number for number in range(8)]}
config = Phi3Config(
    vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
    max_position_embeddings=256, original_max_position_embeddings=32, initializer_range=0.3, pad_token_id=0,
    rope_parameters={"rope_type": "longrope", "rope_theta": 10000.0, **factors},
)
model = AutoModelForCausalLM.from_config(config).eval()
short, long = torch.arange(1, 21)[None] % 63 + 1, torch.arange(1, 41)[None] % 63 + 1
padded = torch.nn.functional.pad(short, (0, 20))
mask = torch.tensor([[1] * 20 + [0] * 20, [1] * 40])
with torch.no_grad():
    alone = model(short).logits[0]
    beside = model(torch.cat([padded, long]), attention_mask=mask).logits[0, :20]
difference = float((alone - beside).abs().max())
print("transformers", transformers.__version__)
print("guessed: the logits of a row are its own, 0.0 apart but for rounding")
print(f"seen: {difference:.3f} apart where the neighbour is longer than original_max_position_embeddings")
raise SystemExit(0 if difference > 1e-2 else 1)
PY
