"""What the command line asks of a search: its spelling of axes, on a grid and on a search, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from search_spaces.points import Search, SearchAxis
from search_spaces.search import integer, log_uniform, ratio, uniform
from search_spaces.spreads import Choice
from sweep.request.axes import parse_axes
from sweep.request.overrides import Changes, request
from trainables.errors import UserError


def asked(name: str, *overrides: str, **changes: Any) -> Search:
    space = request(name, Changes(overrides=overrides, **changes)).experiment.search
    assert space is not None
    return space


def test_ranges_are_spelled_as_the_field_is_typed() -> None:
    spelled = (
        "learning_rate=log:5e-5..5e-3",
        "lora_dropout=0..0.2",
        "lora_rank=log:1..64",
        "batch_size=1..8",
        "lora_alpha=ratio:lora_rank:1..4",
        "prompt=v1,v2",
    )
    axes, ranges = parse_axes(spelled)
    assert axes == {"prompt": ("v1", "v2")}
    assert ranges == {
        "learning_rate": log_uniform(5e-5, 5e-3),
        "lora_dropout": uniform(0, 0.2),
        "lora_rank": integer(1, 64, log=True),
        "batch_size": integer(1, 8),
        "lora_alpha": ratio("lora_rank", 1, 4),
    }


def test_a_path_is_no_range() -> None:
    assert parse_axes(["model=../a..b"]) == ({"model": ("../a..b",)}, {})


def test_a_grid_is_searched_in_its_axes() -> None:
    space = asked("grid_2x2x2", "learning_rate=log:5e-5..5e-3", "lora_dropout=0..0.2", search="tpe", trials=24)
    assert (space.sampler, space.trials, space.objectives) == ("tpe", 24, ())
    assert space.axes == (
        SearchAxis("prompt", Choice(("v1", "v2"))),
        SearchAxis("lora_rank", Choice((8, 16))),
        SearchAxis("learning_rate", log_uniform(5e-5, 5e-3)),
        SearchAxis("lora_dropout", uniform(0, 0.2)),
    )


def test_a_declared_search_changes_where_it_is_asked_to() -> None:
    space = asked("search_2x2x2", "lora_rank=log:1..64", "learning_rate=5e-5,5e-3", "prompt=v2", trials=48)
    spreads = {axis.field: axis.spread for axis in space.axes}
    assert spreads == {
        "lora_rank": integer(1, 64, log=True),
        "learning_rate": Choice((5e-5, 5e-3)),  # the ends of the range, and no range any more
        "lora_dropout": uniform(0, 0.2),
    }
    assert (space.sampler, space.trials, space.base.prompt) == ("auto", 48, "v2")


def test_few_cells_need_no_number_of_trials() -> None:
    assert asked("grid_2x2x2", search="auto").trials == 8
    assert asked("grid_2x2x2", "lora_rank=1,2,3,4,5,6", search="grid").trials == 24


def test_objectives_bring_their_metrics() -> None:
    wanted = request("grid_2x2x2", Changes(search="tpe", trials=9, objectives="chrf, -runtime_s")).experiment
    assert wanted.search is not None
    assert wanted.search.objectives == ("chrf", "-runtime_s")
    assert "chrf" in wanted.evaluation.metrics


def test_what_the_user_sets_a_stand_in_leaves_alone() -> None:
    wanted = request("search_2x2x2", Changes(overrides=("learning_rate=log:1e-4..1e-3",)))
    assert "learning_rate" in wanted.changed


def test_a_smoke_run_tries_two_points_in_little() -> None:
    wanted = request("search_2x2x2", Changes(smoke=True))
    space = wanted.experiment.search
    assert space is not None
    assert (space.trials, space.base.max_steps, space.base.train_examples) == (2, 2, 10)
    assert wanted.folder_name == "search_2x2x2-smoke"


@pytest.mark.parametrize(
    ("name", "overrides", "changes", "message"),
    [
        (
            "grid_2x2x2",
            ("lora_rank=1..8",),
            {},
            "lora_rank is given as a range, and grid_2x2x2 is a grid: add --search",
        ),
        ("grid_2x2x2", (), {"trials": 9}, "--trials 9 is for a search, and grid_2x2x2 is a grid: add --search auto"),
        ("grid_2x2x2", (), {"objectives": "a"}, "--objectives a is for a search"),
        ("grid_2x2x2", (), {"search": "tpe"}, "--search tpe needs --trials N, the number of points to try: the space"),
        ("grid_2x2x2", ("lora_rank=1..8", "lora_dropout=0..0.1"), {"search": "auto"}, "has ranges, which have no end"),
        ("search_2x2x2", (), {"search": "tpee"}, "--search 'tpee' is unknown; did you mean 'tpe'?"),
        ("search_2x2x2", (), {"search": "gp"}, "sampler gp needs ranges of numbers, and the axis prompt is a choice"),
        ("search_2x2x2", (), {"search": "grid"}, "sampler grid needs axes whose values can be listed"),
        ("search_2x2x2", (), {"trials": 0}, "--trials must be at least 1, got 0"),
        ("search_2x2x2", (), {"objectives": "rougeL,runtime_s"}, "objective 'runtime_s' is to be small: write a minus"),
        ("search_2x2x2", ("learning_rate=log:1e-3..1e-4",), {}, "learning_rate=log:1e-3..1e-4: log_uniform: low must"),
        ("search_2x2x2", ("lora_dropout=log:0..0.1",), {}, "a logarithmic range must begin above 0, got 0"),
        ("search_2x2x2", ("lora_rank=0..8",), {}, "lora_rank must be greater than or equal to 1, got 0"),
        ("search_2x2x2", ("lora_rank=1.5..8",), {}, "lora_rank must be a whole number, got '1.5'"),
        ("search_2x2x2", ("learning_rate=log:1e-3",), {}, "learning_rate=log:1e-3: a range is written LOW..HIGH"),
        ("search_2x2x2", ("learning_rate=1e-4..1e-3,5",), {}, "a range is written LOW..HIGH"),
        ("search_2x2x2", ("lora_alpha=ratio:rank:1..4",), {}, "ratio of 'rank' is not possible"),
        ("search_2x2x2", ("lora_rnk=1..8",), {}, "axis 'lora_rnk' is not a field of TrainConfig; did you mean 'lora_r"),
        ("search_2x2x2", ("lora_rank=",), {}, "axis lora_rank has an empty value"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    name: str, overrides: tuple[str, ...], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        request(name, Changes(overrides=overrides, **changes))
    assert message in str(caught.value)


def test_a_declared_sampler_and_another_exclude_each_other(tmp_path: Any) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from search_spaces.experiment import Experiment\nfrom search_spaces.search import log_uniform, search\n"
        "from trainables.config import TrainConfig\nbase = TrainConfig(model='a', data='b')\n"
        "space = search(base, learning_rate=log_uniform(1e-4, 1e-3), trials=9, sampler='random')\n"
        "experiment = Experiment(name='mine', description='', search=space)\n"
    )
    assert asked(str(path), search="random").sampler == "random"
    with pytest.raises(UserError, match="--search tpe and the sampler random that mine declares exclude each other"):
        request(str(path), Changes(search="tpe"))
