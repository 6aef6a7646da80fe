"""A row per requested record, whatever became of it; values, axes and formats of the columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sweeps_on_disk import SMALL, baseline, configuration, grid

from analysis.format.cells import cell, raw
from analysis.records.load import default_eval_id, load, load_table
from trainables.config import DECODINGS, EvalConfig, eval_id
from trainables.errors import UserError
from trainables.records.record import SweepFolder

Make = Callable[..., Path]


def test_every_requested_record_is_a_row_baselines_first_then_by_index(make_sweep: Make) -> None:
    trials = [*grid(B={"state": None}, C={"state": "failed", "cause": "no memory left"})[2:], *grid()[:2]]
    frame = load_table(make_sweep(trials))
    assert list(frame["name"]) == ["zero-shot v1", "zero-shot v2", *"ABCDEFGH"]
    assert list(frame["state"]) == ["done", "done", "done", "pending", "failed", *["done"] * 5]
    assert frame.loc[4, "cause"] == "no memory left"
    assert frame.loc[3:4, "rougeL"].isna().all()


def test_values_are_those_of_the_records(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A", rank=16, rate=2e-4)])
    row = load(folder).rows[1]
    record = SweepFolder(folder).records()[1]
    summary, result = record.summary(eval_id(SMALL)), record.result()
    assert summary
    assert result
    for name in ("rouge1", "rouge2", "rougeL", "rouge1_unstemmed", "eval_loss", "perplexity", "generated_tokens"):
        assert row.values[name] == summary.splits["test"][name]
    assert row.values["validation_rougeL"] == summary.splits["validation"]["rougeL"]
    assert row.values["validation_rougeL"] != row.values["rougeL"]
    assert row.values["trainable_share"] == 24_576 * 16 / 6_970_000
    for name in ("adapter_bytes", "peak_memory_bytes", "seconds_per_step", "wall_s", "train_loss"):
        assert row.values[name] == getattr(result, name)
    assert (row.values["model"], row.values["data"]) == ("pocket-gpt2", "pocket-chats")


def test_a_row_shows_what_it_changes_and_a_baseline_its_prompt_alone(make_sweep: Make) -> None:
    trials = [*grid(), configuration("I", train={"lora_alpha": 32})]
    table = load(make_sweep(trials))
    assert table.axes == ("prompt", "lora_rank", "learning_rate", "lora_alpha")
    assert [table.rows[1].values.get(name) for name in table.axes] == ["v2", None, None, None]
    assert [table.rows[9].values.get(name) for name in table.axes] == ["v2", 16, 2e-4, 16]


def test_a_single_configuration_shows_prompt_rank_and_rate(make_sweep: Make) -> None:
    assert load(make_sweep([configuration("A")])).axes == ("prompt", "lora_rank", "learning_rate")


def test_fields_that_cannot_change_weights_are_no_axes(make_sweep: Make) -> None:
    trials = [configuration("A"), configuration("B", rank=16, train={"eval_every_steps": 8})]
    assert load(make_sweep(trials)).axes == ("lora_rank",)


def test_a_damaged_result_is_left_as_it_is_and_its_row_hidden(make_sweep: Make) -> None:
    folder = make_sweep()
    path = SweepFolder(folder).records()[2].result_path
    path.write_text(path.read_text().replace('"done"', '"oom"'))
    row = load(folder).rows[2]
    assert (row.name, row.state, row.mean("test", "rougeL")) == ("A", "pending", None)
    assert row.is_hidden
    assert "result.json is damaged" in row.damage
    assert path.exists()


def test_a_damaged_configuration_is_still_a_row(make_sweep: Make) -> None:
    folder = make_sweep()
    SweepFolder(folder).records()[3].config_path.write_text("{")
    row = load(folder).rows[3]
    assert (row.name, row.kind, row.state) == ("B", "configuration", "pending")
    assert "config.json is damaged" in str(row.cause)
    assert row.is_hidden


def test_predictions_that_changed_are_no_evaluation(make_sweep: Make) -> None:
    folder = make_sweep()
    path = SweepFolder(folder).records()[2].predictions_path(eval_id(SMALL), "test")
    path.write_text(path.read_text().replace("meet", "part"))
    row = load(folder).rows[2]
    assert (row.state, row.summary) == ("done", None)
    assert row.is_hidden
    assert f"evals/{eval_id(SMALL)}/predictions-test.jsonl is damaged" in str(row.cause)


def test_each_evaluation_has_its_own_table(make_sweep: Make) -> None:
    other = EvalConfig(validation_examples=12, test_examples=8, decoding=DECODINGS["beam4"])
    trials = [baseline(), configuration("A", evaluations=(SMALL, other)), configuration("B", rank=16)]
    folder = make_sweep(trials)
    assert default_eval_id(folder) == eval_id(SMALL)
    table = load(folder, eval_id(other))
    assert table.evaluation == other
    assert not table.is_default
    assert [row.values.get("examples") for row in table.rows] == [None, 8, None]
    assert [row.values["examples"] for row in load(folder).rows] == [20, 20, 20]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_one_split_alone_gives_the_scores_there_are(make_sweep: Make, split: str) -> None:
    evaluation = EvalConfig(**{"validation_examples": 0, "test_examples": 0, f"{split}_examples": 9})
    table = load(make_sweep([configuration("A")], evaluation))
    assert table.split == table.selection_split == split
    assert table.rows[0].values["examples"] == 9
    assert "validation_rougeL" not in table.rows[0].values


def test_what_is_no_sweep_is_said_in_a_sentence(make_sweep: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is no sweep"):
        load(tmp_path / "nowhere")
    folder = make_sweep([])
    with pytest.raises(UserError, match=f"'{eval_id(SMALL)[:-1]}'; did you mean '{eval_id(SMALL)}'"):
        load(folder, eval_id(SMALL)[:-1])
    (folder / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match=r"sweep\.json is damaged"):
        load(folder)


def test_a_sweep_of_which_nothing_has_started_is_a_table_without_rows(make_sweep: Make) -> None:
    assert load(make_sweep([])).rows == ()


@pytest.mark.parametrize(
    ("value", "style", "people", "programs"),
    [
        (0.31271, "points", "31.27", "31.2710"),
        (2.80912345, "loss", "2.809", "2.80912"),
        (float("inf"), "perplexity", "inf", "inf"),
        (1.5e8, "perplexity", "1.5e+08", "1.5e+08"),
        (787_912, "bytes", "769 KiB", "787912"),
        (125.0, "duration", "2 min 05 s", "125.000"),
        (5e-5, "text", "5e-05", "5e-05"),
        (("c_attn", "c_proj"), "text", "c_attn+c_proj", "c_attn+c_proj"),
        (None, "points", "–", ""),
        (float("nan"), "loss", "–", ""),
    ],
)
def test_a_value_is_written_for_people_and_for_programs(value: object, style: str, people: str, programs: str) -> None:
    assert (cell(value, style), raw(value, style)) == (people, programs)
