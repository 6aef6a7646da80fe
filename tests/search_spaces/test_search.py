"""A search that cannot be is one sentence with key, value, rule and the nearest right one; no library is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces.experiment import load_experiment
from trainables.errors import UserError

TEXT = """
from search_spaces.experiment import Experiment
from search_spaces.search import integer, log_uniform, ratio, search, uniform, when
from trainables.config import TrainConfig
base = TrainConfig(model="pocket-gpt2", data="pocket-chats")
experiment = Experiment(name="own", description="", search={})
"""


def written(folder: Path, declared: str) -> Path:
    path = folder / "own.py"
    path.write_text(TEXT.format(declared))
    return path


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (
            "search(base, learning_rate=log_uniform(), trials=4)",
            "log_uniform needs 'low' and 'high', as in log_uniform(5e-5, 5e-3)",
        ),
        ("search(base, lora_rank=[4, 8])", "search needs 'trials', as in search(base, learning_rate="),
        ("search(base, trials=4)", "a search needs at least one axis, such as learning_rate=log_uniform("),
        (
            "search(base, learning_rate=log_uniform(5e-3, 5e-5), trials=4)",
            "log_uniform: low must be below high, got 0.005 and 5e-05",
        ),
        (
            "search(base, learning_rate=log_uniform(0, 5e-3), trials=4)",
            "log_uniform: a logarithmic range must begin above 0, got 0; take a small number, such as 5e-05",
        ),
        ("search(base, prompt=[], trials=4)", "axis prompt must have at least one value, got none"),
        (
            "search(base, lora_rnk=[4, 8], trials=4)",
            "axis 'lora_rnk' is not a field of TrainConfig; did you mean 'lora_rank'?",
        ),
        ("search(base, lora_rank=integer(0, 8), trials=4)", "lora_rank must be greater than or equal to 1, got 0"),
        (
            "search(base, lora_rank=uniform(1, 8), trials=4)",
            "lora_rank is a whole number, so its range is lora_rank=integer(1, 8)",
        ),
        ("search(base, lora_rank=[4, 8], trials=0)", "trials must be a whole number of at least 1, got 0"),
        (
            "search(base, lora_rank=[4, 8], trials=4, objectives='rougeL')",
            "objectives must be a list, got 'rougeL'; write objectives=['rougeL']",
        ),
        (
            "search(base, lora_rank=[4, 8], trials=4, objectives=['rougeL', 'runtime_s'])",
            "objective 'runtime_s' is to be small: write a minus before it, '-runtime_s'",
        ),
        ("search(base, lora_rank=[4, 8], trials=4, first=[8])", "first must be points like {'lora_rank': 8}, got 8"),
        (
            "search(base, when(lora_rank=99, lora_alpha=[1, 2]), lora_rank=[4, 8], trials=4)",
            "lora_alpha[lora_rank=99]: no point has lora_rank=99; lora_rank has 4, 8",
        ),
        (
            "search(base, when(lora_rnk=4, lora_alpha=[1, 2]), lora_rank=[4, 8], trials=4)",
            "lora_alpha[lora_rnk=4]: 'lora_rnk' is no axis with a list of values; did you mean 'lora_rank'?",
        ),
        (
            "search(base, when(lora_rank=4, lora_alpha=[1, 2]), lora_rank=[4, 8], lora_alpha=[3, 4], trials=4)",
            "lora_alpha and lora_alpha[lora_rank=4] are two axes of lora_alpha in the same points",
        ),
        (
            "search(base, lora_alpha=ratio('lora_rnk', 1, 4), trials=4)",
            "ratio of 'lora_rnk' is not possible: it must be a field that is a number; did you mean 'lora_rank'?",
        ),
        (
            "search(base, lora_alpha=ratio('lora_alpha', 1, 4), trials=4)",
            "lora_alpha cannot be a ratio to lora_alpha, which is a ratio itself",
        ),
        ("search(base, lora_rank=[4, 8], trials=4, sampler='tpee')", "sampler 'tpee' is unknown; did you mean 'tpe'?"),
    ],
)
def test_a_search_that_cannot_be_is_one_sentence(tmp_path: Path, declared: str, said: str) -> None:
    path = written(tmp_path, declared)
    with pytest.raises(UserError) as caught:
        load_experiment(str(path))
    assert str(caught.value).startswith(f"{path}, line 6: {said}")


def test_conditions_that_exclude_each_other_may_share_a_field(tmp_path: Path) -> None:
    axes = "when(lora_rank=4, lora_alpha=[1, 2]), when(lora_rank=8, lora_alpha=[3, 4]), lora_rank=[4, 8]"
    assert load_experiment(str(written(tmp_path, f"search(base, {axes}, trials=4)"))).search is not None


def test_a_refusal_loads_no_library(tmp_path: Path) -> None:
    path = written(tmp_path, "search(base, learning_rate=log_uniform(0, 5e-3), trials=4)")
    code = (
        "import sys; from sweep.run import main\n"
        f"code = main([{str(path)!r}, '--out', {str(tmp_path / 'out')!r}])\n"
        "assert code == 2, code\n"
        "assert not {'ray', 'torch', 'optuna'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out").exists()
