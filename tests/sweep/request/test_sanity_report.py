"""Plausible mistakes are named before a step is spent, by `plan` and `run` alike, and sound plans are left in peace."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from experiment_place import make_place
from planted_mistakes import MISTAKES, Mistake, Records, named

from search_spaces.experiment import Experiment, built_in, load_experiment
from search_spaces.grid import Grid
from sweep.plan import make_plan
from sweep.request import sanity_report
from sweep.request.commit import commit
from sweep.request.existing_sweep import sweep_to_extend
from sweep.request.found_sources import FoundSource, FoundSources
from sweep.request.overrides import Changes, request
from sweep.request.prepare import prepare
from sweep.request.run_options import RunOptions
from sweep.request.trials import plan_trials
from trainables import pocket
from trainables.config import EvalConfig, TrainConfig
from trainables.data.corpus import Corpus
from trainables.data.load_corpus import load_corpus
from trainables.data.sources import DataSource
from trainables.records.record import SweepFolder

needs_pocket_model = pytest.mark.skipif(not pocket.model_folder().is_dir(), reason="the pocket model is not built")
REAL = Path(__file__).resolve().parents[4] / "shared" / "real"
needs_real_data = pytest.mark.skipif(not REAL.is_dir(), reason="../shared/real is absent")


@pytest.fixture(scope="module")
def chats() -> Records:
    """120 + 40 + 40 records of the bundled corpus."""
    return {split: pocket.records(split, count) for split, count in (("train", 120), ("validation", 40), ("test", 40))}


@needs_pocket_model
@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_planted_mistake_is_named_in_one_line(mistake: Mistake, chats: Records, tmp_path: Path) -> None:
    said = named(mistake, chats, pocket.model_folder(), tmp_path)
    assert sum(mistake.said in line for line in said) == 1, said
    assert all(line.startswith(sanity_report.PREFIX) and "\n" not in line for line in said)


@needs_pocket_model
def test_nothing_is_said_of_a_plan_without_a_mistake(chats: Records, tmp_path: Path) -> None:
    assert named(Mistake("none", ""), chats, pocket.model_folder(), tmp_path) == []


@needs_pocket_model
def test_what_is_shown_of_the_data_cannot_steer_a_terminal(chats: Records, tmp_path: Path) -> None:
    hostile = Mistake("", "", lambda records: {
        split: [{**row, "summary": "\x1b]0;mine\x07 {where} [red]\u202e talk."} for row in rows]
        for split, rows in records.items()
    })  # fmt: skip
    (said,) = [line for line in named(hostile, chats, pocket.model_folder(), tmp_path) if "same summary" in line]
    assert r"'\x1b]0;mine\x07 {where} [red]\u202e talk.'" in said


# --- through the verbs -----------------------------------------------------------------------------------------------

OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", train_examples=8, prompt="bare", max_steps=8)
experiment = Experiment(
    "own", "", grid(base, learning_rate=[1.0, 5e-4]), EvalConfig(validation_examples=6, test_examples=12),
    prompts={"bare": "{source}"},
)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, an experiment with mistakes, and data whose summaries are all the same."""
    make_place(tmp_path, monkeypatch, OWN)
    for path in (tmp_path / "data").iterdir():
        rows = [{**json.loads(line), "summary": "Always the same."} for line in path.read_text().splitlines()]
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return tmp_path


def mistakes_in(notes: Sequence[str]) -> list[str]:
    return [note for note in notes if note.startswith(sanity_report.PREFIX)]


@pytest.mark.usefixtures("place")
def test_plan_and_run_name_the_same_mistakes_and_a_continued_sweep_does_not_read_its_data_for_them() -> None:
    wanted, how = request("own.py", Changes()), RunOptions(out=Path("run").absolute())
    planned = mistakes_in(make_plan(wanted, how).notes)
    prepared = prepare(wanted, how, None)
    assert mistakes_in(prepared.notes) == planned
    words = ("one and the same summary", "learning_rate 1 is", "only 6 validation", "has nothing after {source}")
    assert [sum(word in line for line in planned) for word in words] == [1, 1, 1, 1]
    commit(prepared, SweepFolder(how.out))
    for path in Path("data").iterdir():
        path.unlink()
    Path("data").rmdir()
    assert mistakes_in(prepare(wanted, how, sweep_to_extend(wanted, how)).notes) == planned


def test_the_built_in_experiments_set_nothing_that_looks_like_a_mistake() -> None:
    nowhere = FoundSources((FoundSource("m", "m", "local", "", None),), FoundSource("d", "d", "local", "", None))
    for name in built_in():
        experiment = load_experiment(name)
        assert sanity_report.in_plan_of(plan_trials(experiment), experiment, nowhere, None) == []


# --- real corpora ----------------------------------------------------------------------------------------------------


def real_corpora(place: Path) -> Iterator[tuple[str, Corpus]]:
    """Yield the real corpora and the bundled one, each as its users would read it."""
    titles = place / "titles.jsonl"
    with (REAL / "ag_news" / "test.csv").open(encoding="utf-8", newline="") as file:
        rows = [{"text": text, "title": title} for _, title, text in csv.reader(file)]
    titles.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name, path, source, target in (
        ("samsum", REAL / "samsum", "dialogue", "summary"),
        ("dialogsum", REAL / "dialogsum", "dialogue", "summary+summary1+summary2+summary3"),
        ("xsum", REAL / "xsum" / "xsum_pairs.jsonl", "document", "summary"),
        ("alpaca", REAL / "alpaca" / "alpaca_5000.json", "instruction", "output"),
        ("ag_news", titles, "text", "title"),
    ):
        yield name, load_corpus(DataSource(name, str(path), "local"), source, target)
    yield "pocket-chats", load_corpus(DataSource("pocket-chats", "pocket-chats", "bundled"), "dialogue", "summary")


# Not alarms but findings: each was looked at in the texts.
TRUE = {
    ("dialogsum", "the source is nearly a training text in 67 of 466 validation examples"),
    ("xsum", "wrongly decoded characters stand in 241 of 2,000 train"),  # mostly a pound sign read as two characters
    ("xsum", "the source is cut in 39 of 64 validation"),  # within the 512 tokens of the model that is taken here
    ("ag_news", "HTML is left in 542 of 2,000 train"),  # "&lt;" and "#39;", in SOURCE.txt too
}


@needs_real_data
@pytest.mark.slow
def test_real_corpora_raise_no_false_alarm(tmp_path: Path) -> None:
    said = {name: _said_of(corpus) for name, corpus in real_corpora(tmp_path)}
    lines = [(name, line) for name, some in said.items() for line in some]
    found = {(name, words) for name, words in TRUE for about, line in lines if about == name and words in line}
    assert found == TRUE
    alarms = [line for line in lines if not any(line[0] == name and words in line[1] for name, words in TRUE)]
    assert alarms == []


def _said_of(corpus: Corpus) -> list[str]:
    experiment = Experiment("own", "", Grid(TrainConfig(model="m", data="d"), {}), EvalConfig())
    model = FoundSource("m", "m", "local", str(REAL / "models" / "dialogue-7M-gpt2"), None)
    bases = FoundSources((model,), FoundSource("d", "d", "local", "", None))
    return sanity_report.in_plan_of(plan_trials(experiment), experiment, bases, corpus, sanity_report.in_data(corpus))


@needs_real_data
@pytest.mark.slow
def test_mistakes_planted_into_real_chats_are_named(tmp_path: Path) -> None:
    records: dict[str, list[dict[str, Any]]] = {}
    for split, name, count in (("train", "train", 400), ("validation", "val", 64), ("test", "test", 64)):
        rows = json.loads((REAL / "samsum" / f"{name}.json").read_text(encoding="utf-8"))
        records[split] = [row for row in rows if row["dialogue"].strip()][:count]
    model = REAL / "models" / "dialogue-7M-gpt2"
    missed = [
        mistake.name
        for number, mistake in enumerate(MISTAKES)
        if not any(mistake.said in line for line in named(mistake, records, model, tmp_path / str(number)))
    ]
    assert missed == []
