#!/usr/bin/env bash
# statsmodels 0.15.0, one score missing from a long table, by the formulas of ols and of mixedlm.
# Guess: both drop the row, as both take the argument missing and ols drops it unasked.
# Seen: ols drops it without being told; mixedlm raises PatsyError, and drops it only when told missing="drop".
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check statsmodels==0.15.0 pandas==3.1.1 numpy==2.4.6 scipy==1.17.1
cd "$place"
"$place/venv/bin/python" - <<'PY'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf

warnings.simplefilter("ignore")
table = pd.DataFrame({"run": np.repeat(["a", "b"], 20), "example": np.tile(range(20), 2)})
table["score"] = np.random.default_rng(0).normal(size=40)
table.loc[3, "score"] = np.nan


def rows(fit) -> str:
    try:
        return str(int(fit().nobs))
    except Exception as error:
        return type(error).__name__


found = [
    rows(lambda: smf.ols("score ~ run", table).fit()),
    rows(lambda: smf.mixedlm("score ~ run", table, groups="example").fit()),
    rows(lambda: smf.mixedlm("score ~ run", table, groups="example", missing="drop").fit()),
]
print("statsmodels", version("statsmodels"))
print("rows used by ols, mixedlm, mixedlm told to drop:", *found)
sys.exit(found != ["39", "PatsyError", "39"])
PY
