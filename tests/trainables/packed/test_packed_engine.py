"""The packed engine: a trial in a pack is the trial alone, and nothing of another trial reaches it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import engine_of, evaluation_of, record_of, train_losses, trial, write_model, write_sweep
from packs import Ran, assert_same, both, packed_engine, run_packed, run_solo
from waiting import wait_until

from trainables.bases.load import load_base
from trainables.config import TrialConfig
from trainables.errors import UserError
from trainables.jobs import Interrupted, go_on, no_report
from trainables.modeling.base_model import LoadedBase
from trainables.modeling.multi_lora import PackedBase
from trainables.modeling.peft_lora import ADAPTER
from trainables.records.checkpoint import latest_checkpoint
from trainables.records.record import SweepFolder, TrialRecord

MIXED: dict[str, TrialConfig] = {
    "A": trial(max_steps=6, lora_dropout=0.1),
    "B": trial(
        max_steps=6, lora_rank=8, lora_alpha=32, lora_dropout=0.0, learning_rate=1e-3, schedule="cosine",
        warmup_steps=2, weight_decay=0.1, seed=7,
    ),
    "C": trial(
        max_steps=5, batch_size=3, gradient_accumulation_steps=1, lora_dropout=0.05, prompt="other",
        prompt_template="{source}\nIn short:", target_modules=("c_attn", "c_proj"), schedule="constant",
    ),
    "D": trial(
        max_steps=4, batch_size=1, gradient_accumulation_steps=4, train_examples=9, seed=3, lora_rank=5,
        keep_checkpoint="best", generate_every_steps=3, generate_examples=3,
    ),
    "zero-shot": trial(max_steps=0),
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory, model: Path) -> tuple[dict[str, Ran], dict[str, Ran]]:
    """The mixed trials alone and packed."""
    return both(tmp_path_factory.mktemp("both"), model, MIXED)


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    return write_sweep(tmp_path / "sweep")


@pytest.mark.parametrize("name", MIXED)
def test_a_packed_trial_is_the_trial_alone(engines: tuple[dict[str, Ran], dict[str, Ran]], name: str) -> None:
    assert_same(engines[0][name], engines[1][name])
    result = engines[1][name].result
    assert result["engine"] == "packed"
    assert len(result["packmates"]) == len(MIXED) - 1
    assert 0 < result["device_share"] < 1


def test_trials_that_train_in_one_batch_are_the_trials_alone(
    engines: tuple[dict[str, Ran], dict[str, Ran]], sweep: SweepFolder, model: Path
) -> None:
    together = run_packed(packed_engine(sweep, model, together=4), sweep, MIXED)
    for name in MIXED:
        assert_same(engines[0][name], together[name])


@pytest.mark.parametrize(
    "decoding",
    [
        {"strategy": "sample", "temperature": 0.8, "top_k": 20, "top_p": 0.9, "repetition_penalty": 1.3},
        pytest.param({"strategy": "beam", "num_beams": 3, "repetition_penalty": 1.2}, marks=pytest.mark.slow),
    ],
    ids=["sampled and penalised", "beams"],
)
def test_texts_that_several_trials_write_together_are_those_of_each_alone(
    tmp_path: Path, model: Path, decoding: dict[str, Any]
) -> None:
    evaluation = evaluation_of(20, validation=4, test=4, **decoding)
    trials = {str(seed): trial(evaluation, max_steps=2, seed=seed, learning_rate=2e-2) for seed in (1, 2)}
    trials["zero-shot"] = trial(evaluation, max_steps=0, seed=5)
    alone, packed = both(tmp_path, model, trials)
    texts = [text for ran in packed.values() for text in ran.texts()]
    assert texts == [text for ran in alone.values() for text in ran.texts()]
    assert len(set(texts)) > 15


def test_a_trial_that_explodes_is_diverged_and_changes_nothing_of_the_others(
    engines: tuple[dict[str, Ran], dict[str, Ran]], sweep: SweepFolder, model: Path
) -> None:
    wild = trial(max_steps=6, learning_rate=1e6, max_grad_norm=1e9, seed=11)
    found = run_packed(packed_engine(sweep, model), sweep, {"wild": wild, "A": MIXED["A"], "B": MIXED["B"]})
    assert found["wild"].result["state"] == "diverged"
    for name in ("A", "B"):
        assert found[name].column("train", "train_loss") == engines[1][name].column("train", "train_loss")
        assert_same(engines[1][name], found[name])


def test_a_trial_that_explodes_in_a_batch_shared_with_others_changes_nothing_of_them(
    engines: tuple[dict[str, Ran], dict[str, Ran]], sweep: SweepFolder, model: Path
) -> None:
    wild = trial(max_steps=6, learning_rate=1e6, max_grad_norm=1e9, seed=11)
    together = {"wild": wild, "A": MIXED["A"], "B": MIXED["B"]}
    found = run_packed(packed_engine(sweep, model, together=3), sweep, together)
    assert found["wild"].result["state"] == "diverged"
    for name in ("A", "B"):
        assert_same(engines[1][name], found[name])


def test_a_slot_that_was_used_starts_clean(
    engines: tuple[dict[str, Ran], dict[str, Ran]], sweep: SweepFolder, model: Path
) -> None:
    engine = packed_engine(sweep, model)
    names = ["D", "B", "C"]
    run_packed(engine, sweep, {f"first {name}": MIXED[name] for name in names})
    run_packed(engine, sweep, {"second": trial(max_steps=1, seed=99)})
    again = run_packed(engine, sweep, {"A": MIXED["A"]})["A"]
    assert_same(engines[1]["A"], again)


def test_a_stopped_trial_leaves_its_place_while_the_others_go_on(sweep: SweepFolder, model: Path) -> None:
    engine = packed_engine(sweep, model)
    order = threading.Event()

    def stop_at_two(record: TrialRecord) -> Any:
        return lambda: "stop" if len(train_losses(record)) >= 2 else "go"

    def wait_for_it(record: TrialRecord) -> Any:
        def control() -> str:
            if len(train_losses(record)) == 3:
                order.wait(20)
            return "go"

        return control

    trials = {"stopped": trial(max_steps=6), "long": trial(max_steps=6, seed=2)}
    jobs = {name: record_of(sweep, one, name) for name, one in trials.items()}
    with_thread = threading.Thread(
        target=engine.run, args=(jobs["long"][1], no_report, wait_for_it(jobs["long"][0])), daemon=True
    )
    with_thread.start()
    result = engine.run(jobs["stopped"][1], no_report, stop_at_two(jobs["stopped"][0]))
    assert (result.state, result.steps) == ("stopped", 2)
    assert jobs["long"][0].result() is None
    order.set()
    with_thread.join(30)
    assert jobs["long"][0].result().state == "done"  # type: ignore[union-attr]


@pytest.mark.parametrize(("first", "then"), [("packed", "packed"), ("solo", "packed"), ("packed", "solo")])
def test_an_interrupted_trial_is_continued_by_either_engine(
    engines: tuple[dict[str, Ran], dict[str, Ran]], sweep: SweepFolder, model: Path, first: str, then: str
) -> None:
    one = MIXED["A"]
    record, job = record_of(sweep, one, "A")
    made = {"packed": packed_engine(sweep, model), "solo": engine_of(sweep, model)}
    with pytest.raises(Interrupted):
        made[first].run(job, no_report, lambda: "interrupt" if len(train_losses(record)) >= 3 else "go")
    checkpoint = latest_checkpoint(record)
    assert checkpoint is not None
    assert checkpoint.step == 3
    result = made[then].run(job, no_report, go_on)
    assert (result.engine, result.restarts) == (then, 1)
    assert_same(engines[0]["A"], Ran(one, record, {**result.content(), "restarts": 0}))


def test_an_interruption_reaches_trials_that_wait_for_the_device(sweep: SweepFolder, model: Path) -> None:
    engine = packed_engine(sweep, model)
    leaving = threading.Event()
    trials = {str(seed): trial(max_steps=400, seed=seed, eval_every_steps=0) for seed in range(3)}
    jobs = {name: record_of(sweep, one, name) for name, one in trials.items()}
    ends: list[str] = []

    def work(name: str) -> None:
        try:
            engine.run(jobs[name][1], no_report, lambda: "interrupt" if leaving.is_set() else "go")
        except Interrupted:
            ends.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in trials]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(len(train_losses(record)) >= 2 for record, _ in jobs.values()), 60)
    leaving.set()
    for thread in threads:
        thread.join(10)
    assert sorted(ends) == sorted(trials)
    for record, _ in jobs.values():
        checkpoint = latest_checkpoint(record)
        assert checkpoint is not None
        assert checkpoint.step == len(train_losses(record)) < 400


def test_an_adapter_loads_in_plain_peft_and_gives_the_same_losses(
    engines: tuple[dict[str, Ran], dict[str, Ran]], model: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from trainables.tokenization.encoder import load_encoder
    from trainables.trial.evaluate import ModelReader, losses, mean_loss

    ran = engines[1]["C"]
    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), ran.record.adapter_folder)
    tokenized = engine_of(SweepFolder(ran.record.folder.parents[1]), model).tokenized
    rows = tokenized.evaluation_rows(ran.trial.train, "test", 4, ran.trial.evaluation.max_new_tokens)
    found = losses(ModelReader(LoadedBase(peft), load_encoder(model), ran.trial.train, "cpu", go_on), rows)
    recorded = ran.record.summary(ran.trial.eval_id).splits["test"]["eval_loss"]  # type: ignore[union-attr]
    assert mean_loss(found) == pytest.approx(recorded, rel=1e-5)
    ours = json.loads((ran.record.adapter_folder / "adapter_config.json").read_text())
    theirs = json.loads((engines[0]["C"].record.adapter_folder / "adapter_config.json").read_text())
    assert {key: theirs[key] for key in ours} | {"base_model_name_or_path": "tiny"} == ours
    assert peft.peft_config[ADAPTER].r == ran.trial.train.lora_rank


def test_trials_of_two_bases_take_turns(tmp_path: Path, sweep: SweepFolder, model: Path) -> None:
    trials = {
        "A": trial(max_steps=2),
        "half": trial(max_steps=2, precision="bf16"),
        "B": trial(max_steps=2, seed=1),
        "half too": trial(max_steps=2, precision="bf16", seed=1),
    }
    found = run_packed(packed_engine(sweep, model), sweep, trials)
    assert {ran.result["state"] for ran in found.values()} == {"done"}
    alone = run_solo(write_sweep(tmp_path / "alone"), model, {"A": trials["A"]})
    assert_same(alone["A"], found["A"])


def test_only_the_thread_of_the_device_computes_on_all_cores(sweep: SweepFolder, model: Path) -> None:
    engine = packed_engine(sweep, model)
    engine.pack.threads = 2
    one = trial(max_steps=2)
    computing, asking = set(), set()
    engine.base(one.train).model.register_forward_pre_hook(lambda *_: computing.add(torch.get_num_threads()))

    def control() -> str:
        if threading.current_thread().name != "pack":
            asking.add(torch.get_num_threads())
        return "go"

    before = torch.get_num_threads()
    run_packed(engine, sweep, {"A": one}, {"A": lambda _: control})  # type: ignore[dict-item, return-value]
    assert (computing, asking) == ({2}, {1})
    assert torch.get_num_threads() == before


def test_an_evaluation_of_a_finished_trial_never_trains_again(sweep: SweepFolder, model: Path) -> None:
    engine = packed_engine(sweep, model)
    first = run_packed(engine, sweep, {"A": trial(max_steps=2)})["A"]
    longer = trial(evaluation_of(12), max_steps=2)
    again = run_packed(engine, sweep, {"A": longer})["A"]
    assert again.result == first.record.result().content()
    assert all(row["new_tokens"] <= 12 for row in again.predictions())
    assert len(again.predictions()) == 10


def test_the_preflight_measures_and_refuses_as_that_of_the_solo_engine(sweep: SweepFolder, model: Path) -> None:
    engine = packed_engine(sweep, model)
    found, expected = engine.preflight(list(MIXED.values())), engine_of(sweep, model).preflight(list(MIXED.values()))
    assert found.lengths == expected.lengths
    assert found.training[0].loss == pytest.approx(expected.training[0].loss, rel=1e-6)
    assert found.training[0].gradient_norm == pytest.approx(expected.training[0].gradient_norm, rel=1e-5)
    for wrong in ({"target_modules": ("q_proj",)}, {"lora_rank": 64}):
        with pytest.raises(UserError):
            engine.preflight([trial(**wrong)])


@pytest.mark.parametrize("targets", [("nothing",), ("wte",), ("attn",)])
def test_a_target_that_is_no_linear_layer_is_refused(model: Path, targets: tuple[str, ...]) -> None:
    config = trial(target_modules=targets).train
    with pytest.raises(UserError, match="target_modules"):
        PackedBase(load_base(model, config, "cpu"), 0, 0).adapter(config, "cpu")


def test_a_layer_that_sees_chosen_tokens_is_refused(model: Path) -> None:
    base = load_base(model, trial().train, "cpu")
    expert = torch.nn.Module()
    expert.up_proj = torch.nn.Linear(4, 8)
    base.model.transformer.h[0].mlp.experts = torch.nn.ModuleList([expert])
    with pytest.raises(UserError, match="'up_proj' of tiny can have no adapter: an expert sees chosen tokens"):
        PackedBase(base, 0, 0).adapter(trial(target_modules=("up_proj",)).train, "cpu")
