"""A larger evaluation of the same weights writes what is new alone, and is what the whole at once would be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine_inputs import evaluation_of, trial, write_model, write_sweep
from packs import Ran, packed_engine, run_packed, run_solo

from trainables.config import TrialConfig
from trainables.data.corpus import example_of
from trainables.packed.engine import PackedReader
from trainables.records.atomic_files import read_lines
from trainables.records.record import SweepFolder
from trainables.scoring.metrics import score
from trainables.scoring.rescore import rescore
from trainables.scoring.stored_lines import covers
from trainables.tokenization.token_rows import TokenRow
from trainables.trial.evaluate import ModelReader

Run = Callable[[SweepFolder, TrialConfig], Ran]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


def engines(model: Path) -> dict[str, Run]:
    return {
        "packed": lambda sweep, one: run_packed(packed_engine(sweep, model), sweep, {"A": one})["A"],
        "solo": lambda sweep, one: run_solo(sweep, model, {"A": one})["A"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["packed", "solo"])
def test_growing_evaluations_end_as_the_whole_one_at_once(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    written: list[int] = []
    reader: Any = PackedReader if engine == "packed" else ModelReader
    original = reader.texts

    def counting(self: Any, rows: Sequence[TokenRow], *others: Any) -> Any:
        written.append(len(rows))
        return original(self, rows, *others)

    monkeypatch.setattr(reader, "texts", counting)
    run = engines(model)[engine]
    changes = {"strategy": "sample", "top_k": 5, "metrics": ("rouge", "bleu")}
    whole = run(write_sweep(tmp_path / "whole"), trial(evaluation_of(validation=6, test=4, **changes)))
    assert written == [10]
    written.clear()
    grown, steps = write_sweep(tmp_path / "grown"), [(2, 0, ("rouge",)), (5, 0, ("rouge",)), (6, 4, ("rouge", "bleu"))]
    for validation, test, metrics in steps:
        found = run(grown, trial(evaluation_of(validation=validation, test=test, **{**changes, "metrics": metrics})))
        assert found.result["state"] == "done"
    assert written == [2, 3, 1 + 4]
    assert found.predictions() == whole.predictions()
    ours, theirs = (one.record.summary(one.trial.eval_id) for one in (found, whole))
    assert ours is not None
    assert theirs is not None
    assert ours.splits == theirs.splits


def test_fewer_examples_and_other_metrics_need_no_model(tmp_path: Path, model: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep")
    found = engines(model)["solo"](sweep, trial(evaluation_of(validation=5, test=0)))
    fewer = evaluation_of(validation=3, test=0, metrics=("rouge", "bleu"))
    assert covers(found.record, fewer)
    examples = {"validation": [example_of(row) for row in read_lines(sweep.evaluation_examples_path("validation"))]}
    assert rescore(found.record, fewer, examples) is not None
    rows = found.record.predictions(trial(fewer).eval_id, "validation")
    kept = found.predictions()[:3]
    for row, old, example in zip(rows, kept, examples["validation"], strict=False):
        assert row == {**old, "scores": score(old["text"], example.references, ("rouge", "bleu"))}


def test_other_decoding_lengths_and_damaged_lines_are_not_taken(tmp_path: Path, model: Path) -> None:
    sweep = write_sweep(tmp_path / "sweep")
    one = trial(evaluation_of(validation=5, test=0), max_steps=0)
    found = engines(model)["solo"](sweep, one)
    assert covers(found.record, evaluation_of(validation=5, test=0, metrics=("rouge", "bleu")))
    assert not covers(found.record, evaluation_of(validation=6, test=0))
    assert not covers(found.record, evaluation_of(validation=3, test=1))
    assert not covers(found.record, evaluation_of(tokens=9, validation=3, test=0))
    assert not covers(found.record, evaluation_of(validation=3, test=0, repetition_penalty=1.1))
    path = found.record.predictions_path(one.eval_id, "validation")
    path.write_text(path.read_text(encoding="utf-8").replace('"eos"', '"end"', 1) + "\n", encoding="utf-8")
    assert not covers(found.record, evaluation_of(validation=3, test=0))
