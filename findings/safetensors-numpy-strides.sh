#!/usr/bin/env bash
# safetensors 0.8.0, save_file of safetensors.numpy on arrays that are views.
# Guess: it refuses a transposed or strided array, as safetensors.torch does, or writes its values.
# Seen: the shape is that of the view and the bytes are those of the memory behind it: what is read back has the
# right shape and other values, with no word.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from safetensors.numpy import load_file, save_file

whole = np.arange(12, dtype=np.float32).reshape(3, 4)
views = {"transposed": whole.T, "Fortran order": np.asfortranarray(whole), "every other column": whole[:, ::2]}
print("safetensors", version("safetensors"), "numpy", version("numpy"))
as_seen = True
for name, array in views.items():
    save_file({"x": array, "y": np.ascontiguousarray(array)}, "file.safetensors")
    read = load_file("file.safetensors")
    found, of_a_copy = read["x"], read["y"]
    same, copied = np.array_equal(found, array), np.array_equal(of_a_copy, array)
    print(f"{name}: wrote {array[0].tolist()}..., read {found[0].tolist()}...; equal: {same}; of a copy: {copied}")
    as_seen &= found.shape == array.shape and not same and copied
sys.exit(not as_seen)
PY
