"""What `plan` says of a search: its space as one reads it, and what its points cost, from their ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from experiment_place import go_offline

from search_spaces.points import Search, SearchAxis
from search_spaces.search import integer, log_uniform, ratio, search, uniform, when
from sweep.plan import main
from sweep.request.search_plan import ends_of, spread_text
from trainables.config import TrainConfig

BASE = TrainConfig(model="gpt2", data="samsum")


def axes_of(space: Search) -> dict[str, SearchAxis]:
    return {axis.name: axis for axis in space.axes}


def test_an_axis_is_written_as_one_reads_it() -> None:
    space = search(
        BASE,
        when(quantization="nf4", optimizer=["paged_adamw_8bit", "adamw_torch"]),
        quantization=["none", "nf4"],
        learning_rate=log_uniform(5e-5, 5e-3),
        lora_rank=integer(1, 64, log=True),
        lora_dropout=uniform(0, 0.2),
        lora_alpha=ratio("lora_rank", 1, 4),
        target_modules=[["c_attn", "c_proj"], ["c_attn"]],
        weight_decay=[0.0, 0.01],
        trials=9,
    )
    assert {name: spread_text(axis) for name, axis in axes_of(space).items()} == {
        "quantization": "none, nf4",
        "learning_rate": "5e-05 to 0.005, logarithmic",
        "lora_rank": "1 to 64 in whole numbers, logarithmic",
        "lora_dropout": "0 to 0.2",
        "lora_alpha/lora_rank": "1 to 4 times lora_rank",
        "target_modules": "c_attn+c_proj, c_attn",
        "weight_decay": "0, 0.01",
        "optimizer[quantization=nf4]": "paged_adamw_8bit, adamw_torch",
    }


def test_ends_need_every_value() -> None:
    assert ends_of([3, 1, 2]) == (1, 3)
    assert ends_of([3, None]) is None
    assert ends_of([]) is None


def test_a_plan_says_space_sampler_and_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    go_offline(tmp_path, monkeypatch)
    monkeypatch.chdir(tmp_path)
    assert main(["search_pareto", "--source", "bundled", "lora_rank=log:1..8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    space, point = found["search"], found["search"]["point"]
    assert (space["sampler"], space["trials"], space["held"], space["remaining"]) == ("tpe", 24, 0, 24)
    assert space["objectives"] == ["rougeL", "-trainable_parameters"]
    assert (found["configurations"], found["baselines"], found["left"]) == (24, 1, 25)
    least, most = point["trainable_parameters"]
    assert most == 8 * least  # of rank 1 and rank 8
    assert found["tokens"] == 24 * point["tokens"][1]
    assert found["disk_bytes"] > 24 * point["disk_bytes"][1]
    assert not list(tmp_path.glob("runs/*"))
