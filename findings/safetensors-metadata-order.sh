#!/usr/bin/env bash
# safetensors 0.8.0, the same tensors with the same metadata saved again and again in one process.
# Guess: the bytes are the same, as the format has no time stamp and tensors are sorted.
# Seen: with several metadata keys their order in the header changes from save to save, so a checksum of the file says
# nothing about equal content; without metadata, or with one key, the bytes are the same.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PY'
import hashlib
import sys
from importlib.metadata import version

import numpy as np
from safetensors.numpy import save

tensors = {"b": np.zeros(3, dtype=np.float32), "a": np.ones(2, dtype=np.float32)}


def files(keys: int) -> int:
    metadata = {f"key{number}": str(number) for number in range(keys)} or None
    return len({hashlib.sha256(save(tensors, metadata=metadata)).hexdigest() for _ in range(60)})


found = {keys: files(keys) for keys in (0, 1, 6)}
print("safetensors", version("safetensors"))
print("distinct files among 60 saves, by number of metadata keys:", found)
sys.exit(not (found[0] == found[1] == 1 and found[6] > 10))
PY
