#!/usr/bin/env bash
# pydantic 2.14.3 in strict mode, given scalars of numpy 2.4.6 for a float and for an int.
# Guess: it takes them as it takes Python's: True is no number, 8 is a whole number, 1e-3 is 1e-3.
# Seen: numpy.True_ is 1.0 where True is refused, numpy.int64(8) is refused, numpy.float32(1e-3) is 0.0010000000474974513.
set -euo pipefail

place="$(mktemp -d)"
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pydantic==2.14.3 numpy==2.4.6

"$place/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import pydantic
from pydantic import BaseModel, ConfigDict, ValidationError


class Settings(BaseModel):
    model_config = ConfigDict(strict=True)
    rate: float = 0.1
    rank: int = 8


def read(**values):
    try:
        return next(getattr(Settings(**values), name) for name in values)
    except ValidationError:
        return "refused"


print(f"pydantic {pydantic.VERSION}, numpy {np.__version__}")
print("guess: strict takes numpy's scalars as Python's: numpy.True_ no number, numpy.int64 a whole number, 1e-3 as 1e-3")
seen = {
    "rate=True": read(rate=True),
    "rate=numpy.True_": read(rate=np.True_),
    "rate=numpy.float32(1e-3)": read(rate=np.float32(1e-3)),
    "rank=numpy.int64(8)": read(rank=np.int64(8)),
}
for what, value in seen.items():
    print(f"seen: {what}: {value!r}")
expected = ["refused", 1.0, 0.0010000000474974513, "refused"]
sys.exit(0 if list(seen.values()) == expected else "what was seen has changed")
PYTHON
