"""A value of another type than its field's is one sentence; a number of numpy's is the number that it prints."""

from __future__ import annotations

import itertools
import marshal
from pathlib import Path
from typing import Any, Literal, get_origin

import numpy as np
import pytest

from search_spaces.experiment import Experiment, StandIn, load_experiment
from search_spaces.grid import FIXED, Grid, expand, grid, with_axes
from trainables.config import Decoding, EvalConfig, TrainConfig, TrialConfig
from trainables.errors import UserError

BASE = TrainConfig(model="gpt2", data="samsum")
WHOLE: dict[str, Any] = {"name": "own", "description": "", "grid": Grid(BASE, {})}
KINDS: tuple[type[TrainConfig | EvalConfig | Decoding], ...] = (TrainConfig, EvalConfig, Decoding)
FIELDS = [(kind, name) for kind in KINDS for name in kind.model_fields]
NOTHING_RIGHT = (None, b"v1", {"a": 1}, {8}, object(), complex(1), 10**5000, "\ud800", [None], np.array([[0.5]]))
OF_NUMPY: dict[Any, tuple[Any, ...]] = {
    int: (np.int64, np.int32, np.uint16),
    float: (np.float64, np.float32, np.float16, np.longdouble),
    bool: (np.bool_,),
    str: (np.str_,),
}


def example_of(kind: type[TrainConfig | EvalConfig | Decoding], name: str) -> Any:
    """Return a right value that is not the default's type alone: a number with digits for a number."""
    field = kind.model_fields[name]
    numbers = {int: 49 if name == "max_length_tokens" else 3, float: 0.001, bool: True}
    return numbers.get(field.annotation, "v1" if field.is_required() else field.default)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "name"), [one for one in FIELDS if one[0].model_fields[one[1]].annotation in OF_NUMPY]
)
def test_a_number_of_numpys_is_the_number_that_it_prints(kind: type[TrainConfig], name: str) -> None:
    annotation = kind.model_fields[name].annotation
    value = example_of(kind, name)
    others = {"model": "gpt2", "data": "samsum"} if kind is TrainConfig else {}
    right = kind(**{**others, name: value})
    for make in OF_NUMPY[annotation]:  # type: ignore[index]
        read = kind(**{**others, name: make(value)})
        assert type(getattr(read, name)) is type(getattr(right, name))
        assert read.model_dump_json() == right.model_dump_json()


def test_an_axis_of_numpys_makes_the_same_trials() -> None:
    plain = expand(grid(BASE, learning_rate=[1e-3, 3e-4], lora_rank=[8, 16], gradient_checkpointing=[False, True]))
    axes = {
        "learning_rate": np.array([1e-3, 3e-4], dtype=np.float32),
        "lora_rank": np.array([8, 16]),
        "gradient_checkpointing": (np.False_, np.True_),
    }
    read = {"learning_rate": (1e-3, 3e-4), "lora_rank": (8, 16), "gradient_checkpointing": (False, True)}
    wanted = [TrialConfig(train=one, evaluation=EvalConfig()).train_id for one in plain]
    declared = Grid(BASE, {name: tuple(values) for name, values in axes.items()})
    for found in (grid(BASE, **axes), with_axes(grid(BASE), axes), declared):
        assert found.axes == read
        assert [TrialConfig(train=one, evaluation=EvalConfig()).train_id for one in expand(found)] == wanted


@pytest.mark.parametrize("name", ["learning_rate", "lora_rank", "lora_alpha", "max_steps"])
def test_a_truth_value_of_numpys_is_no_number(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} must be a valid .*, got True"):
        grid(BASE, **{name: [np.True_]})


@pytest.mark.parametrize("name", [name for name in TrainConfig.model_fields if name not in FIXED])
@pytest.mark.parametrize("value", NOTHING_RIGHT, ids=lambda value: type(value).__name__)
def test_a_wrong_type_on_an_axis_is_one_short_sentence_that_names_it(name: str, value: Any) -> None:
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        grid(BASE, **{name: [value]})
    said = str(caught.value)
    assert said.startswith(name)
    assert len(said) < 400


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        ({"v1", "v2"}, "must be a list of values in their order, got {"),
        ({"v1": 1}, "must be a list of values in their order, got {'v1': 1}"),
        (b"v1", "must be a list of values, got b'v1'"),
        (np.array("v1"), "must be a list of values, got 'v1'"),
        (5, "must be a list of values, got 5; write prompt=[5]"),
        (None, "must be a list of values, got None"),
        (map(str, itertools.count()), "must have at most 10,000 values"),
    ],
)
def test_an_axis_that_is_no_list_is_refused(axis: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        grid(BASE, prompt=axis)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": 5}, "Experiment.name must be a text, got 5"),
        ({"name": ""}, "Experiment.name must not be empty"),
        ({"name": "\ud800"}, "Experiment.name must be text, got half of a character in '\\ud800'"),
        ({"description": None}, "Experiment.description must be a text, got None"),
        ({"grid": BASE}, "Experiment.grid must be a grid, such as grid(base, lora_rank=[8, 16]), got TrainConfig("),
        ({"evaluation": {"max_new_tokens": 8}}, "Experiment.evaluation must be an EvalConfig(...), got {'max_new"),
        ({"prompts": {"p": 5}}, "Experiment.prompts must give each name its text, got 'p': 5"),
        ({"prompts": {5: "{source}"}}, "Experiment.prompts must give each name its text, got 5: '{source}'"),
        ({"prompts": ["{source}"]}, "Experiment.prompts must be like {'v3': "),
        ({"stand_in": "gpt2"}, "Experiment.stand_in must be a StandIn(...) or None, got 'gpt2'"),
        ({"needs_gpu": "no"}, "Experiment.needs_gpu must be True or False, got 'no'"),
        ({"metric": 5}, "Experiment.metric must be a text, got 5"),
        ({"keep_leaked": 1}, "Experiment.keep_leaked must be True or False, got 1"),
    ],
)
def test_a_field_of_another_type_is_named_with_its_rule_and_value(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        Experiment(**{**WHOLE, **values})
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: StandIn(5, "b"), "StandIn.model must be a text, got 5"),  # type: ignore[arg-type]
        (lambda: StandIn("a", "b", [1]), "StandIn.axes must be like"),  # type: ignore[arg-type]
        (lambda: Experiment(**WHOLE, stand_in=StandIn("a", "b", {"lora_rnk": (8,)})), "axis 'lora_rnk' is not a field"),
        (lambda: Experiment(**WHOLE, stand_in=StandIn("a", "b", {"lora_rank": (0,)})), "lora_rank must be greater"),
        (lambda: Grid("gpt2", {}), "the base of a grid must be a TrainConfig(...), got 'gpt2'"),  # type: ignore[arg-type]
        (lambda: grid({"model": "gpt2"}), "the base of a grid must be a TrainConfig(...)"),  # type: ignore[arg-type]
        (lambda: Grid(BASE, [8]), "the axes of a grid must be like"),  # type: ignore[arg-type]
        (lambda: Grid(BASE, {"lora_rank": 8}), "axis lora_rank must be a list of values, got 8"),  # type: ignore[dict-item]
    ],
)
def test_the_parts_of_an_experiment_are_judged_too(make: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value).startswith(said)


def test_switches_and_texts_of_numpys_will_do() -> None:
    made = Experiment(**WHOLE, needs_gpu=np.True_, metric=np.str_("rouge1"))  # type: ignore[arg-type]
    assert (made.needs_gpu, type(made.needs_gpu), type(made.metric)) == (True, bool, str)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (marshal.dumps(compile("x = 1", "x", "exec")) + b"\0", "is no Python text: it holds null bytes"),
        (b"x = 1\0\n", "is no Python text: it holds null bytes"),
        (b"\xff\xfe\x01\x02", "is no Python text"),
        ("x = 'é'".encode("latin-1"), "is no Python text"),
        (b"# coding: no-such\nx = 1\n", "is no Python text: unknown encoding"),
        (b"x = (\n", "line 1"),
        (b"(" * 5000, "line 1"),
        (b"x = 1\n  y = 2\n", "line 2"),
        (b"import sys\nsys.exit(0)\n", "ends the program itself (sys.exit)"),
        (b"raise RuntimeError('one\\ntwo')\n", "line 1: RuntimeError: one two"),
        (
            b"from search_spaces.experiment import Experiment\nExperiment(name='a', promts={})\n",
            "did you mean 'prompts'?",
        ),
        (b"experiment = 5\n", "must define `experiment = Experiment(...)`, got a int"),
    ],
)
def test_a_file_that_is_no_experiment_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "own.py"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"^[^\n]*$") as caught:
        load_experiment(str(path))
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_what_lies_beside_is_looked_through_whatever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "binary.py").write_bytes(b"\0\xff")
    (tmp_path / "gone.py").symlink_to(tmp_path / "nothing")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="experiment 'absent' is unknown"):
        load_experiment("absent")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"max_steps": 10**9}, "max_steps must be less than or equal to 10000000, got 1000000000"),
        ({"seed": 2**32}, "seed must be less than or equal to 4294967295"),
        ({"data_seed": 2**32}, "data_seed must be less than or equal to 4294967295"),
        ({"batch_size": 10**6}, "batch_size must be less than or equal to 65536"),
        ({"gradient_accumulation_steps": 10**6}, "gradient_accumulation_steps must be less than or equal to 65536"),
    ],
)
def test_a_number_that_cannot_be_meant_is_refused(values: dict[str, int], said: str) -> None:
    with pytest.raises(UserError) as caught:
        grid(BASE, **{name: [value] for name, value in values.items()})
    assert str(caught.value).startswith(said)


def test_every_field_is_one_of_the_kinds_that_these_tests_know() -> None:
    for kind, name in FIELDS:
        annotation = kind.model_fields[name].annotation
        is_known = annotation in OF_NUMPY or get_origin(annotation) in (Literal, tuple) or annotation is Decoding
        assert is_known or name == "curve_examples", name  # a count or nothing, for the project itself to set
