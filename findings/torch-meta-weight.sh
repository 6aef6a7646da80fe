#!/usr/bin/env bash
# torch 2.13.0, a product of an ordinary tensor on the CPU with a weight on "meta", which has no memory.
# Guess: an error that names two devices, as for a sum of the two, or a result on "meta".
# Seen: a result on the CPU without a word, of whatever numbers its memory held before: by `linear`, `matmul` and `mm`.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PY'
import sys

import torch
from torch.nn.functional import linear

x, weight = torch.ones(3, 4), torch.ones(4, 4, device="meta")
print("torch", torch.__version__)
found = {}
for name, compute in {"linear": linear, "matmul": torch.matmul, "mm": torch.mm, "add": torch.add}.items():
    try:
        result = compute(x[:4] if name != "add" else torch.ones(4, 4), weight)
        found[name] = str(result.device)
        print(f"{name}: a result on {result.device}", result.flatten()[:3].tolist() if name != "add" else "")
    except RuntimeError as error:
        found[name] = "RuntimeError"
        print(f"{name}: {str(error)[:90]}")
sys.exit(found != {"linear": "cpu", "matmul": "cpu", "mm": "cpu", "add": "RuntimeError"})
PY
