"""Data that ROUGE cannot read: chrF decides from the start, whoever asks again and however."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_inputs import write_data, write_model

from sweep.request.commit import commit
from sweep.request.existing_sweep import sweep_to_extend
from sweep.request.overrides import Changes, request
from sweep.request.prepare import prepare
from sweep.request.run_options import RunOptions
from trainables.records import atomic_files
from trainables.records.record import SweepFolder

OWN = """
from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig
base = TrainConfig(model="model", data="data", train_examples=4)
experiment = Experiment("own", "", grid(base, lora_rank=[2, 4]), EvalConfig(validation_examples=2, test_examples=2))
"""


def test_a_sweep_on_data_without_words_for_rouge_is_decided_by_chrf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "model")
    write_data(tmp_path / "data")
    for path in (tmp_path / "data").iterdir():
        rows = atomic_files.read_lines(path)
        atomic_files.write_lines(path, [{**row, "summary": "Анна говорит о планах."} for row in rows])
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    options = RunOptions(out=tmp_path / "run")
    wanted = request("own.py", Changes())
    prepared = prepare(wanted, options, sweep_to_extend(wanted, options))
    assert any("chrF decides in its place" in note for note in prepared.notes)
    commit(prepared, SweepFolder(options.out))
    sweep = SweepFolder(options.out).manifest()
    assert (sweep.metric, sweep.evaluation["metrics"]) == ("chrf", ["rouge", "chrf"])
    again = sweep_to_extend(wanted, options)
    assert again is not None
    assert (again.experiment.metric, again.experiment.evaluation) == ("chrf", prepared.experiment.evaluation)


def test_bleu_is_evaluated_where_it_is_asked_to_decide(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN, encoding="utf-8")
    experiment = request(str(tmp_path / "own.py"), Changes(metric="bleu")).experiment
    assert (experiment.metric, experiment.evaluation.metrics) == ("bleu", ("rouge", "bleu"))
