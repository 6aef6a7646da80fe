#!/usr/bin/env bash
# datasets.load_dataset("json") turns a field whose strings all look like dates into timestamps: the text is gone.
# One record more whose string is no date gives the text of all of them back.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1
HF_HUB_OFFLINE=1 HF_HOME="$place/home" PLACE="$place" "$place/venv/bin/python" - <<'PYTHON'
import datetime
import json
import os
from pathlib import Path

import datasets
import pyarrow

datasets.disable_progress_bars()
print(f"datasets {datasets.__version__}, pyarrow {pyarrow.__version__}")
print('guess: a JSON string is a string: {"answer": "2024-05-01"} is read as the text "2024-05-01"')


def read(name: str, answers: list[str]) -> list:
    path = Path(os.environ["PLACE"]) / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"answer": answer}) + "\n" for answer in answers))
    return datasets.load_dataset("json", data_files=str(path), split="train")["answer"][:]


dates = ["2024-05-01", "2024-05-02"]
alone, beside_words = read("dates", dates), read("mixed", [*dates, "in May"])
print(f"seen:  {dates} alone is read as {alone}")
print(f"       beside 'in May' as {beside_words[:2]}")
assert alone == [datetime.datetime(2024, 5, 1), datetime.datetime(2024, 5, 2)], alone
assert beside_words == [*dates, "in May"], beside_words
print("so what a record holds depends on the records around it, and a training text may no longer be text")
PYTHON
