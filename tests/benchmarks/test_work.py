"""The work is the same for every system: as a user's experiment, as a peer's job, and as an engine's records."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import PhiConfig

from benchmarks import bases, systems
from benchmarks import work as works
from benchmarks.output import Findings, publish, table
from benchmarks.peers import one_process, per_adapter
from benchmarks.peers.job import Job, job_of_command, mark, write_job
from benchmarks.project import Watch, write_experiment
from search_spaces.experiment import load_experiment
from sweep.environment.devices import Device
from trainables.config import TrialConfig
from trainables.errors import UserError
from trainables.records.record import TrialRecord


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_experiment_of_a_user_has_the_very_configurations(tmp_path: Path, count: int) -> None:
    work = works.make_work("pocket", "bf16", trials=count, steps=8)
    experiment = load_experiment(str(write_experiment(work, tmp_path / "own.py")))
    found = [TrialConfig(train=one, evaluation=experiment.evaluation) for one in experiment.configurations()]
    assert [one.train_id for one in found] == [one.train_id for one in work.trials]
    assert [one.eval_id for one in found] == [one.eval_id for one in work.trials]


def test_more_trials_than_the_grid_has_differ_in_their_seeds() -> None:
    work = works.make_work("pocket", "fp32", trials=20, steps=8)
    assert len({one.train_id for one in work.trials}) == 20
    assert [work.name(index) for index in (0, 7, 8, 19)] == ["A", "H", "A2", "D3"]


def test_a_job_and_its_events_survive_the_way_to_another_process(tmp_path: Path) -> None:
    work = works.make_work("pocket", "fp32", trials=2, steps=8)
    job = Job(works.to_json(work), str(tmp_path), "cpu", (0, 1), 8)
    read = job_of_command([str(write_job(job))])
    assert read == job
    assert read.read_work() == work
    mark(read, "evaluated", 1, step=4, eval_loss=2.5)
    (line,) = map(json.loads, job.marks.read_text(encoding="utf-8").splitlines())
    assert line | {"time": 0} == {"time": 0, "event": "evaluated", "trial": 1, "step": 4, "eval_loss": 2.5}


def test_an_evaluation_in_the_records_counts_once_its_texts_are_written(tmp_path: Path) -> None:
    work = works.make_work("pocket", "fp32", trials=2, steps=8)
    record = TrialRecord(tmp_path / "trials" / "002-B-x")
    record.write_config(work.trials[1], 2, "B", "B")
    record.append_metrics({"kind": "eval", "step": 4, "eval_loss": 2.5, "examples": 10})
    watch = Watch(work, tmp_path)
    assert watch.look() == []
    record.append_metrics({"kind": "generate", "step": 4, "examples": 10})
    assert [(one["trial"], one["step"], one["eval_loss"]) for one in watch.look()] == [(1, 4, 2.5)]
    assert len(watch.look()) == 1


def test_a_size_that_is_unknown_and_a_tokenizer_that_is_absent_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="--size must be one of pocket, gpt2"):
        bases.find_base("large")
    with pytest.raises(UserError, match="--real FOLDER"):
        bases.find_base("gpt2", tmp_path)


@pytest.fixture
def tiny_phi2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the size phi2 be of 0.3 M parameters, on the bundled chats; returns the folder that has its tokenizer."""
    real = tmp_path / "real"
    shutil.copytree(bases.find_base("pocket").model_folder, real / "tokenizers" / "phi-2")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = PhiConfig(vocab_size=1700, max_position_embeddings=2048, bos_token_id=0, eos_token_id=0, **sizes)
    monkeypatch.setitem(bases.LARGE, "phi2", replace(bases.LARGE["phi2"], config=lambda: config, hub_name="absent"))
    monkeypatch.setattr(bases, "OUT", tmp_path / "out")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return real


def test_phi2_is_drawn_at_random_where_it_cannot_be_had_and_trains_in_4_bits(tiny_phi2: Path) -> None:
    work = works.make_work("phi2", "bf16", trials=8, steps=8, real=tiny_phi2)
    assert "drawn at random" in work.base.notes[0]
    assert {one.train.quantization for one in work.trials} == {"nf4"}
    assert {one.train.batch_size for one in work.trials} == {2}
    again = bases.find_base("phi2", tiny_phi2)
    assert again == work.base


@pytest.mark.slow
@pytest.mark.parametrize("peer", [one_process, per_adapter])
def test_peers_train_a_4_bit_base(tiny_phi2: Path, tmp_path: Path, peer: Any) -> None:
    work = works.make_work("phi2", "bf16", trials=2, steps=4, real=tiny_phi2)
    work.write_examples(tmp_path)
    job = Job(works.to_json(work), str(tmp_path), "cpu", (0, 1), 4)
    assert peer.main(job) == 0
    marks = [json.loads(line) for line in job.marks.read_text(encoding="utf-8").splitlines()]
    assert sorted(one["trial"] for one in marks if one["event"] == "evaluated") == [0, 1]


def test_a_card_that_is_assumed_is_part_of_what_was_measured() -> None:
    work, card = works.make_work("pocket", "fp16", trials=2, steps=8), systems.CARDS["t4"]
    whole, part = (systems.plan_for("d", work, "cuda", card=one) for one in (None, card))
    assert whole.identity != part.identity
    assert card.memory_bytes == int(14.7 * 2**30)


def test_results_are_appended_with_hardware_versions_date_and_commit(tmp_path: Path) -> None:
    results = tmp_path / "RESULTS.md"
    for number in (1, 2):
        parts = [table("title", ["", "s"], [["row", f"{number}.5"]]), "a note"]
        publish(Findings("scaling --size pocket", parts, {}), Device("cpu", cores=2), results, as_json=False)
    text = results.read_text(encoding="utf-8")
    assert text.count("## `python -m benchmarks.scaling --size pocket`, 20") == 2
    assert "2 cores" in text
    assert "torch 2." in text
    assert "commit " in text
    assert text.index("1.5") < text.index("2.5")
