"""Experiments by name and from a user's own file; what grid_2x2x2 is; mistakes named with file and line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from search_spaces.experiment import built_in, load_experiment
from trainables import pocket
from trainables.config import DECODINGS, EvalConfig
from trainables.errors import UserError
from trainables.prompts import PROMPTS

HEAD = """from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
"""


def own_file(folder: Path, body: str) -> str:
    path = folder / "my_grid.py"
    path.write_text(HEAD + body, encoding="utf-8")
    return str(path)


def test_grid_2x2x2_has_the_settings_of_the_original_run() -> None:
    experiment = load_experiment("grid_2x2x2")
    configurations = experiment.configurations()
    assert len(configurations) == 8
    first, last = configurations[0], configurations[-1]
    assert (first.prompt, first.lora_rank, first.learning_rate) == ("v1", 8, 5e-4)
    assert (last.prompt, last.lora_rank, last.learning_rate) == ("v2", 16, 2e-4)
    for train in configurations:
        assert (train.model, train.data) == ("gpt2", "samsum")
        assert (train.lora_alpha, train.lora_dropout, train.target_modules) == (16, 0.1, ("c_attn",))
        assert (train.optimizer, train.weight_decay, train.max_grad_norm) == ("adamw_torch", 0.0, 1.0)
        assert (train.schedule, train.warmup_steps, train.warmup_ratio) == ("linear", 0, 0.0)
        assert (train.max_steps, train.batch_size, train.gradient_accumulation_steps) == (32, 2, 2)
        assert (train.train_examples, train.seed, train.data_seed) == (64, 42, 42)
        assert (train.max_length_tokens, train.eval_every_steps, train.keep_checkpoint) == (512, 4, "last")
        assert train.prompt_template == PROMPTS[train.prompt]
    assert experiment.evaluation == EvalConfig(max_new_tokens=128, validation_examples=64, test_examples=128)
    original = DECODINGS["original"]
    assert (original.temperature, original.top_k, original.top_p, original.repetition_penalty) == (0.7, 40, 0.9, 1.1)


def test_the_stand_in_rates_are_those_of_the_pocket_model() -> None:
    stand_in = load_experiment("grid_2x2x2").stand_in
    assert stand_in is not None
    assert (stand_in.model, stand_in.data) == (pocket.POCKET_MODEL, pocket.POCKET_DATA)
    assert stand_in.axes == {"learning_rate": pocket.LEARNING_RATES}


@pytest.mark.parametrize("name", built_in())
def test_every_built_in_experiment_is_called_like_its_file(name: str) -> None:
    experiment = load_experiment(name)
    assert experiment.name == name
    assert experiment.description
    assert experiment.configurations()


def test_a_users_own_file_works_as_well_as_a_built_in_name(tmp_path: Path) -> None:
    path = own_file(
        tmp_path,
        """
base = TrainConfig(model="gpt2", data="samsum", prompt="short")
experiment = Experiment(
    name="mine", description="", grid=grid(base, lora_rank=[4]), prompts={"short": "{source}\\nTL;DR:"}
)
""",
    )
    experiment = load_experiment(path)
    assert [train.prompt_template for train in experiment.configurations()] == ["{source}\nTL;DR:"]
    assert "my_grid" not in sys.modules


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("base = TrainConfig(model='gpt2', data='samsum'", ", line 4: "),
        ("x = 1\ny = x / 0\n", ", line 5: ZeroDivisionError: division by zero"),
        (
            "base = TrainConfig(model='a', data='b', lora_rank=0)",
            "line 4: lora_rank must be greater than",
        ),
        (
            "e = EvalConfig(max_new_token=3)",
            "'max_new_token' is not a field of EvalConfig; did you",
        ),
        ("grid(TrainConfig(model='a', data='b'), rank=[8])", "line 4: axis 'rank' is not a field of TrainConfig"),
        ("x = 1", "must define `experiment = Experiment(...)`, got none"),
        ("experiment = grid(TrainConfig(model='a', data='b'))", "got a Grid"),
        ("import absent_package", "line 4: ModuleNotFoundError: No module named 'absent_package'"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_line(tmp_path: Path, body: str, message: str) -> None:
    path = own_file(tmp_path, body)
    with pytest.raises(UserError) as caught:
        load_experiment(path)
    assert message in str(caught.value)
    assert "my_grid.py" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("grid=grid(base, prompt=['v3'])", "prompt 'v3' is unknown; did you mean"),
        ("grid=grid(base), prompts={'v1': 'no field'}", "a prompt must hold {source} exactly once, got 0 times"),
        ("grid=grid(base), metric='rougel'", "metric 'rougel' is unknown; did you mean 'rougeL'?"),
        ("grid=grid(base), metric='chrf'", "metric 'chrf' needs it among the evaluation's metrics"),
        ("grid=grid(base), metric='bleu'", "metric 'bleu' needs it among the evaluation's metrics"),
        ("grid=grid(base), metric='evaluate_exact_match'", "metric 'evaluate_exact_match' is unknown"),
    ],
)
def test_a_wrong_experiment_is_refused(tmp_path: Path, settings: str, message: str) -> None:
    body = f"base = TrainConfig(model='a', data='b')\nexperiment = Experiment(name='e', description='', {settings})"
    with pytest.raises(UserError) as caught:
        load_experiment(own_file(tmp_path, body))
    assert message in str(caught.value)


def test_a_metric_of_evaluate_decides_where_the_evaluation_has_it(tmp_path: Path) -> None:
    body = (
        "from trainables.config import EvalConfig\nbase = TrainConfig(model='a', data='b')\n"
        "experiment = Experiment('e', '', grid(base), EvalConfig(metrics=('rouge', 'evaluate:exact_match')), "
        "metric='evaluate_exact_match')"
    )
    assert load_experiment(own_file(tmp_path, body)).metric == "evaluate_exact_match"


def test_an_unknown_name_names_the_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="experiment 'grid_2x2' is unknown; did you mean 'grid_2x2x2'"):
        load_experiment("grid_2x2")
    own_file(tmp_path, "experiment = Experiment(")
    with pytest.raises(UserError, match=r"did you mean 'my_grid\.py'"):
        load_experiment("my_grid")
    with pytest.raises(UserError, match=r"'my_gird\.py' is not there; did you mean 'my_grid\.py'"):
        load_experiment("my_gird.py")
