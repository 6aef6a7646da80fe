"""What is said of the data: `plan` and `run` say the same, also of a sweep that is there; long reading says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from experiment_place import make_place
from tiny_inputs import record, write_data

from sweep.plan import make_plan
from sweep.request.commit import commit
from sweep.request.existing_sweep import sweep_to_extend
from sweep.request.overrides import Changes, request
from sweep.request.prepare import prepare
from sweep.request.run_options import RunOptions
from trainables.data import raw_records
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import resolve_data
from trainables.records.record import SweepFolder

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases"
OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", train_examples=8)
experiment = Experiment("own", "", grid(base, lora_rank=[2, 4]), EvalConfig(validation_examples=6, test_examples=6))
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_place(tmp_path, monkeypatch, OWN)


def said(data: str | None = None, out: str = "run") -> tuple[list[str], list[str], list[str]]:
    """Return what plan says before there is a sweep, what run says, and what both say of the sweep that is there."""
    wanted, options = request("own.py", Changes(data=data)), RunOptions(out=Path(out).absolute())
    planned = make_plan(wanted, options)
    prepared = prepare(wanted, options, sweep_to_extend(wanted, options))
    commit(prepared, SweepFolder(options.out))
    more = replace(options, seeds=2)
    again = prepare(wanted, more, sweep_to_extend(wanted, more))
    notes = (planned.notes, prepared.notes, again.notes, make_plan(wanted, more).notes)
    before, first, second, after = ([one for one in some if one.startswith(("data: ", "ROUGE "))] for some in notes)
    assert after == second
    return before, first, second


def test_plan_and_run_say_the_same_of_empty_repeated_and_left_out_records_and_files() -> None:
    rows = [record(number) for number in range(80)]
    bad = [{**rows[0], "summary": ""}, {**rows[1], "id": "again"}]
    Path("data/train.jsonl").write_text("\n".join(map(json.dumps, [*rows, *bad])))
    with Path("data/test.jsonl").open("a") as file:
        file.write("\n" + json.dumps({**rows[2], "id": "leaked"}))
    Path("data/train_part2.jsonl").write_text(json.dumps(record(120)))
    planned, ran, again = said()
    assert planned == ran == again
    assert ran == [
        "data: train: 81 of 82 records, 1 empty dropped, 1 repeated sources kept",
        "data: validation: 12 of 12 records",
        "data: test: 12 of 13 records, 1 also in train left out",
        "data: files that are not read: train_part2.jsonl",
    ]


def test_plan_and_run_say_how_one_file_was_split() -> None:
    Path("mine.jsonl").write_text("\n".join(json.dumps(record(number)) for number in range(104)))
    planned, ran, _ = said("mine.jsonl")
    assert planned == ran
    (how,) = [note for note in ran if "one file" in note]
    sizes = {
        split: len(rows)
        for split, rows in load_corpus(resolve_data("mine.jsonl"), "dialogue", "summary").splits.items()
    }
    assert how == (
        "data: one file without splits: parted 80/10/10 by a hash of the source "
        f"(train {sizes['train']}, validation {sizes['validation']}, test {sizes['test']})"
    )


@pytest.mark.skipif(not CASES.is_dir(), reason="../shared/cases is absent")
@pytest.mark.parametrize("name", ["russian", "russian-with-times"])
def test_chrf_decides_on_another_script_whatever_digits_it_has_and_plan_says_so(name: str) -> None:
    planned, ran, _ = said(str(CASES / f"{name}.jsonl"))
    assert planned == ran
    assert "chrF decides in its place" in ran[-1]
    sweep = SweepFolder(Path("run")).manifest()
    assert (sweep.metric, sweep.evaluation["metrics"]) == ("chrf", ["rouge", "chrf"])


def test_a_configuration_is_found_again_by_its_name() -> None:
    write_data(Path("chats/short"))
    write_data(Path("chats/long"), test=9)
    said("chats:short")
    wanted = request("own.py", Changes(data="chats:short"))
    sweep = SweepFolder(Path("run")).manifest()
    assert (sweep.resolved.data.label, sweep.resolved.data.sizes["test"]) == ("chats:short", 12)
    for path in Path("run/data").iterdir():
        path.unlink()
    options = RunOptions(out=Path("run").absolute(), seeds=3)
    assert prepare(wanted, options, sweep_to_extend(wanted, options)).examples
    Path("chats/short/test.jsonl").write_text(json.dumps(record(150)))
    with pytest.raises(ValueError, match="what is there now is another"):
        sweep_to_extend(wanted, options)


def test_reading_that_takes_long_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    monkeypatch.setattr(raw_records, "LARGE_BYTES", 1000)
    ticker = raw_records.Ticker(heard.append, every_s=0.0)
    load_corpus(resolve_data("data"), "dialogue", "summary", ticker=ticker)
    assert heard[0].startswith("reading train.jsonl (")
    assert "reading train.jsonl: 80 lines" in heard
    assert "cleaning: 79 of 80 records" in heard


def test_a_large_file_is_announced_by_a_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(raw_records, "LARGE_BYTES", 1000)
    make_plan(request("own.py", Changes()), RunOptions(out=Path("run").absolute()))
    assert "reading train.jsonl (10 KiB)" in capsys.readouterr().err
