"""Tokens replayed as a graph are the tokens of the plain way, and what cannot be captured is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import trial, write_model
from pretend_device import GPU, PretendGraph, pretend_gpu

from trainables.bases import probes
from trainables.bases.load import load_base
from trainables.config import Decoding
from trainables.decoding.generate import Completion, Prompt, Writing, generate_batch
from trainables.decoding.token_graph import TokenStep, captured
from trainables.jobs import go_on
from trainables.modeling.base_model import LoadedBase
from trainables.modeling.peft_lora import Clock, attach

PROMPTS = [Prompt(str(row), tuple(range(3 + row, 8 + 4 * row)), target_ids=(5, 6)) for row in range(6)]
GREEDY = Decoding()
SAMPLE = Decoding(strategy="sample", temperature=0.9, top_k=50, top_p=0.95, repetition_penalty=1.2)


@pytest.fixture
def gpu() -> Iterator[None]:
    with pretend_gpu():
        yield


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pretended graph is not fast."""
    monkeypatch.setattr(probes, "GAIN", float("inf"))


def texts(base: LoadedBase, device: str, decoding: Decoding, eos_id: int = -1) -> list[Completion]:
    writing = Writing(decoding, 12, eos_ids=(eos_id,), pad_id=0, seed=42, device=device)
    return generate_batch(base, PROMPTS, writing, go_on)


@pytest.mark.parametrize("family", ["gpt2", "llama", "phi"])
@pytest.mark.parametrize("decoding", [GREEDY, SAMPLE], ids=["greedy", "sampled"])
def test_texts_of_replays_are_those_of_a_cpu(tmp_path: Path, always: None, family: str, decoding: Decoding) -> None:
    folder = write_model(tmp_path / "m", family)
    plain = load_base(folder, trial().train, "cpu")
    eos_id = texts(plain, "cpu", decoding)[0].ids[5]  # in the midst of a text that is replayed
    wanted = texts(plain, "cpu", decoding, eos_id)
    assert {one.ended for one in wanted} == {"eos", "length"}
    with pretend_gpu():
        base = load_base(folder, trial().train, "cuda")
        assert base.capabilities.token_graphs
        found = texts(base, "cuda", decoding, eos_id)
    assert [one.ids for one in found] == [one.ids for one in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5)
    assert "forward" not in base.model.__dict__


def test_all_but_two_tokens_are_replays(
    gpu: None, always: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(write_model(tmp_path / "m"), trial().train, "cuda")
    calls = {"plain": 0, "replay": 0}
    plain, again = TokenStep._plain, PretendGraph.replay

    def counted_plain(step: TokenStep, *args: Any) -> Any:
        calls["plain"] += 1
        return plain(step, *args)

    def counted_replay(graph: PretendGraph) -> None:
        calls["replay"] += 1
        again(graph)

    monkeypatch.setattr(TokenStep, "_plain", counted_plain)
    monkeypatch.setattr(PretendGraph, "replay", counted_replay)
    texts(base, "cuda", GREEDY)
    assert calls == {"plain": 2, "replay": 11}  # the first token, and the capture of the second


def test_a_model_that_waits_for_the_gpu_at_every_token_is_not_replayed(
    gpu: None, always: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(write_model(tmp_path / "m"), trial().train, "cuda")
    assert base.capabilities.token_graphs

    def waits(module: Any, inputs: Any, output: Any) -> None:
        output[0].sum().item()

    base.model.get_submodule("transformer.h.0").register_forward_hook(waits)
    before = texts(base, "cuda", GREEDY)  # the capture fails in the midst of a text, which goes on
    assert not base.capabilities.token_graphs
    assert texts(base, "cuda", GREEDY) == before
    captures: list[Any] = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", captures.append)
    probes.probe_token_graphs(base)  # which finds that out without a capture that fails
    assert not base.capabilities.token_graphs
    assert not captures


WAITS: dict[str, Callable[[torch.Tensor], Any]] = {
    "a number for Python": lambda x: x.sum().item(),
    "as many as are true": lambda x: x[x > 0],
    "numbers of Python": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "numbers of the host": lambda x: torch.ones(2).to(x.device),
}


@pytest.mark.parametrize("wait", WAITS)
def test_what_no_graph_can_capture_is_found_out_without_one(
    gpu: None, always: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    base = load_base(write_model(tmp_path / "m"), trial().train, "cuda")

    def waits(module: Any, inputs: Any, out: torch.Tensor) -> None:
        WAITS[wait](out)

    base.model.get_submodule("transformer.h.0").register_forward_hook(waits)
    captures: list[Any] = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", captures.append)
    probes.probe_token_graphs(base)
    assert not base.capabilities.token_graphs
    assert not captures


def test_a_capture_that_memory_does_not_suffice_for_is_not_tried_again(
    gpu: None, always: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(write_model(tmp_path / "m"), trial().train, "cuda")
    wanted = texts(base, "cuda", GREEDY)
    tried: list[int] = []

    def runs_out(graph: PretendGraph, **how: Any) -> None:
        tried.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(PretendGraph, "capture_begin", runs_out)
    assert texts(base, "cuda", GREEDY) == wanted
    assert texts(base, "cuda", GREEDY) == wanted
    assert len(tried) == 1


def test_texts_of_a_model_that_peft_has_wrapped_are_replays_too(
    gpu: None, always: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = load_base(write_model(tmp_path / "m"), trial().train, "cuda")
    plain = texts(base, "cuda", GREEDY)
    wrapped = replace(base, model=attach(base.model, trial().train, Clock(1)))  # which adds nothing yet
    seen: list[int] = []
    again = PretendGraph.replay
    monkeypatch.setattr(PretendGraph, "replay", lambda graph: (seen.append(1), again(graph)))
    assert [one.ids for one in texts(wrapped, "cuda", GREEDY)] == [
        one.ids for one in plain
    ]  # a fresh adapter adds nothing
    assert seen


def test_replays_that_gain_nothing_are_left(gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "GAIN", 0.0)
    assert not load_base(write_model(tmp_path / "m"), trial().train, "cuda").capabilities.token_graphs


def test_replays_with_other_logits_are_left(
    gpu: None, always: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PretendGraph, "replay", lambda graph: None)  # a graph that changes nothing
    assert not load_base(write_model(tmp_path / "m"), trial().train, "cuda").capabilities.token_graphs


def test_a_cpu_replays_nothing(always: None, tmp_path: Path) -> None:
    assert not load_base(write_model(tmp_path / "m"), trial().train, "cpu").capabilities.token_graphs


def test_a_pretended_capture_runs_nothing_and_its_replay_reads_what_is_there_then(gpu: None) -> None:
    x, total = torch.ones(3, device="cuda"), torch.zeros(3, device="cuda")
    graph: Any = torch.cuda.CUDAGraph()
    with captured(graph, GPU):
        total.add_(x)
        out = total * 2
    assert total.tolist() == [0.0] * 3
    x.fill_(5.0)
    graph.replay()
    graph.replay()
    assert (total.tolist(), out.tolist()) == ([10.0] * 3, [20.0] * 3)
    with pytest.raises(RuntimeError, match="previous error during capture"), captured(torch.cuda.CUDAGraph(), GPU):
        torch.tensor([1.0], device="cuda")
    with captured(torch.cuda.CUDAGraph(), GPU):  # the stream has been left
        total.add_(x)
