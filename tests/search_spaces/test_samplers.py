"""Which sampler a search gets: the rule of `auto`, and axes that a sampler cannot take."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from search_spaces import samplers
from search_spaces.samplers import choose, points_to_try
from search_spaces.search import integer, log_uniform, ratio, search, uniform, when
from trainables.config import TrainConfig
from trainables.errors import UserError

BASE = TrainConfig(model="gpt2", data="samsum")
RATE = log_uniform(5e-5, 5e-3)


@pytest.mark.parametrize(
    ("axes", "settings", "name"),
    [
        ({"prompt": ["v1", "v2"], "lora_rank": [1, 2, 3, 4, 5, 6, 7, 8]}, {"trials": 16}, "grid"),
        ({"prompt": ["v1", "v2"], "lora_rank": [1, 2, 3, 4, 5, 6, 7, 8]}, {"trials": 15}, "tpe"),
        ({"prompt": ["v1", "v2"], "lora_rank": integer(1, 8)}, {"trials": 40}, "grid"),
        ({"prompt": ["v1", "v2"], "lora_rank": integer(1, 9)}, {"trials": 40}, "tpe"),
        ({"learning_rate": RATE, "lora_rank": [4, 8]}, {"trials": 24}, "tpe"),
        ({"learning_rate": RATE, "lora_rank": [8]}, {"trials": 24}, "gp"),
        ({"learning_rate": RATE, "lora_alpha": ratio("lora_rank", 1, 4)}, {"trials": 250}, "gp"),
        ({"learning_rate": RATE, "lora_dropout": uniform(0, 0.2)}, {"trials": 251}, "tpe"),
        ({"learning_rate": RATE}, {"trials": 24, "objectives": ("rougeL", "-runtime_s")}, "tpe"),
    ],
)
def test_auto_keeps_its_rule(axes: dict[str, Any], settings: dict[str, Any], name: str) -> None:
    chosen = choose(search(BASE, **axes, **settings))
    assert chosen.name == name
    assert chosen.reason.startswith(f"sampler: {name}, chosen by auto (")


def test_a_conditional_axis_is_for_tpe() -> None:
    space = search(BASE, when(quantization="nf4", lora_rank=[4, 8]), quantization=["none", "nf4"], trials=2)
    assert choose(space).reason == "sampler: tpe, chosen by auto (the axis lora_rank[quantization=nf4] is conditional)"
    assert choose(replace(space, trials=3)).name == "grid"  # none, and nf4 with rank 4 and 8
    assert points_to_try(replace(space, trials=50)) == 3


@pytest.mark.parametrize(
    ("sampler", "axes", "objectives", "message"),
    [
        (
            "gp",
            {"learning_rate": RATE, "prompt": ["v1", "v2"]},
            (),
            "sampler gp needs ranges of numbers, and the axis p",
        ),
        ("cmaes", {"learning_rate": RATE, "prompt": ["v1", "v2"]}, (), "sampler cmaes needs ranges of numbers"),
        ("cmaes", {"learning_rate": RATE}, (), "sampler cmaes needs at least two axes, got 1; take tpe or random"),
        (
            "cmaes",
            {"learning_rate": RATE, "lora_rank": integer(1, 64)},
            ("rougeL", "-runtime_s"),
            "takes one objective",
        ),
        ("grid", {"learning_rate": RATE}, (), "sampler grid needs axes whose values can be listed"),
        ("tpee", {"learning_rate": RATE}, (), "sampler 'tpee' is unknown; did you mean 'tpe'?"),
    ],
)
def test_a_sampler_that_cannot_take_the_axes_is_refused(
    sampler: str, axes: dict[str, Any], objectives: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        choose(search(BASE, **axes, trials=9, sampler=sampler, objectives=objectives))
    assert message in str(caught.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(samplers.importlib.util, "find_spec", lambda name: None if name == "cmaes" else there(name))
    space = search(BASE, learning_rate=RATE, lora_dropout=uniform(0, 0.2), trials=9, sampler="cmaes")
    with pytest.raises(UserError, match=r"needs the package cmaes: pip install 'packsweep\[cmaes\]'; or take tpe or"):
        choose(space)


def test_choosing_loads_no_library() -> None:
    code = (
        "import sys; from search_spaces.experiment import load_experiment; from search_spaces.samplers import choose\n"
        "name = choose(load_experiment('search_pareto').search).name\n"
        "print(name, *{'optuna', 'torch', 'ray', 'cmaes'} & {*sys.modules})"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["tpe"]
