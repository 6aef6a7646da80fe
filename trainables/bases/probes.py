"""Which faster ways of computing give a base model's own numbers: each is tried on a small input and compared.

What is not the same, fails or gains nothing is left, and `Capabilities.refused` keeps why.

Shapes: R rows, V vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from trainables.decoding.prefill import filler_of, read_prompts
from trainables.decoding.token_graph import SyncDetector, token_steps
from trainables.hardware.device_memory import is_lost, is_out_of_memory
from trainables.kv_cache.ragged import Prefill
from trainables.kv_cache.static import StaticFiller
from trainables.modeling import attention
from trainables.modeling.agreement import Refused, agree, sample_logits, why_not
from trainables.modeling.base_model import LoadedBase, arithmetic, device_of
from trainables.modeling.last_mlp import last_mlp
from trainables.modeling.loss import collate, completion_nll, pack_rows, row_of
from trainables.modeling.multi_lora import PackedBase
from trainables.tokenization.token_rows import TokenRow

GAIN = 0.9  # replays must take at most this share of the plain way's time
TRIED_ROWS, TRIED_TOKENS = 8, 8  # of replayed tokens
REPEATS = 3  # of replayed training steps
Pairs = list[tuple[Tensor, Tensor]]
"""Numbers of the faster way, each with those of the plain way."""


def probe(base: LoadedBase, precision: str, device: str) -> None:
    """Find out which faster ways a base can take on its device."""
    probe_attention(base)
    probe_last_mlp(base)
    probe_ragged_cache(base)
    if device == "cpu":
        probe_sequence_packing(base)
    else:
        with arithmetic(precision, device):
            probe_token_graphs(base)


def _settle(base: LoadedBase, way: str, reason: str | None, value: Any = True) -> None:
    """Take a way against which there is no reason, and leave one against which there is."""
    if reason is None:
        base.allow(way, value)
    else:
        base.refuse(way, reason)


def _rounding(base: LoadedBase) -> Callable[[Tensor, Tensor], bool]:
    return partial(agree, dtype=base.model.dtype)


@contextmanager
def _assumed(base: LoadedBase, way: str, value: Any = True) -> Iterator[None]:
    """Have a base take a way in this block, whatever is known of it."""
    before = base.capabilities
    base.allow(way, value)
    try:
        yield
    finally:
        base.capabilities = before


def _text_config(model: Any) -> Any:
    return model.config.get_text_config(decoder=True)


def _rows(model: Any, lengths: tuple[int, ...], prompt_tokens: int) -> list[TokenRow]:
    """Return rows of these lengths whose first tokens are the prompt."""
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = [
        tuple((7 * token + 3 * number + 1) % vocabulary for token in range(length))
        for number, length in enumerate(lengths)
    ]
    return [TokenRow(str(number), one[:prompt_tokens], one[prompt_tokens:], 0, True) for number, one in enumerate(ids)]


def probe_attention(base: LoadedBase) -> None:
    """Have a model that attends by `sdpa` attend by `attention`, where it then still computes the same.

    Falcon's own code asks for the library's name and fails without it.
    """
    model, config = base.model, _text_config(base.model)
    if config._attn_implementation != "sdpa":
        base.refuse("packed_attention", f"the model attends by {config._attn_implementation!r}")
        return
    wanted = sample_logits(model)
    attention.register()
    config._attn_implementation = attention.NAME
    reason = why_not(lambda: [(sample_logits(model), wanted)], _rounding(base))
    if reason is not None:
        config._attn_implementation = "sdpa"
    _settle(base, "packed_attention", reason)


@torch.no_grad()
def probe_last_mlp(base: LoadedBase) -> None:
    """Find the last layer's MLP, and whether losses are the same, in the base's arithmetic, without the rest of it."""
    name = last_mlp(base.model)
    if name is None:
        base.refuse("last_mlp", "the last layer has no module called mlp")
        return
    rows = [TokenRow("0", (1, 2, 3), (4, 5), 0, True), TokenRow("1", (6, 5, 4, 3, 2), (1,), 0, True)]
    batch = collate(rows, 0).to(str(device_of(base.model)))
    base.allow("last_mlp", None)
    wanted = completion_nll(base, batch)
    with _assumed(base, "last_mlp", name):
        # A model may call it in another way, or look at all of it.
        reason = why_not(lambda: [(completion_nll(base, batch), wanted)], _rounding(base))
    _settle(base, "last_mlp", reason, name)


def probe_ragged_cache(base: LoadedBase) -> None:
    """Find out whether a base decodes rows of unequal length together.

    Two prompts are read and one more token each: its logits must be those of the whole text, in the base's arithmetic.
    """
    _settle(base, "ragged_cache", why_not(lambda: _decoded_together(base), _rounding(base)))


@torch.no_grad()
def _decoded_together(base: LoadedBase) -> Pairs:
    model, config = base.model, _text_config(base.model)
    if not base.capabilities.packed_attention or getattr(model, "_is_stateful", False):
        raise Refused("the model attends by itself, or keeps a recurrent state")
    layers = DynamicCache(config=config).layers
    if not layers or not all(type(layer) is DynamicLayer for layer in layers):
        raise Refused("not all layers keep the keys and values of all tokens")
    device, pad_id, lengths = device_of(model), 0, (5, 8)
    ids = [one.prompt_ids + one.target_ids for one in _rows(model, lengths, 1)]
    rows = [TokenRow(str(number), one, (one[0],), 0, True) for number, one in enumerate(ids)]
    width = max(lengths)
    padded = torch.tensor([(pad_id,) * (width - len(one)) + one for one in ids], device=device)
    mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in ids], device=device)
    filler = filler_of(model, [len(one) - 1 for one in ids], 1)
    cache, _ = read_prompts(base, rows, filler, width, pad_id, 64, lambda: "go", None)
    found = model(
        input_ids=padded[:, -1:], attention_mask=mask, past_key_values=cache,
        position_ids=mask.sum(1, keepdim=True) - 1,
    ).logits[:, -1]  # fmt: skip
    wanted = torch.stack([model(input_ids=torch.tensor([one], device=device)).logits[0, -1] for one in ids])
    return [(found, wanted)]


def probe_sequence_packing(base: LoadedBase) -> None:
    """Read three rows one behind another: their losses must be those of each alone, in the base's arithmetic."""
    _settle(base, "sequence_packing", why_not(lambda: _read_as_one(base), _rounding(base)))


@torch.no_grad()
def _read_as_one(base: LoadedBase) -> Pairs:
    model, config = base.model, _text_config(base.model)
    # A window over the last tokens is a mask, and packed rows have none.
    if getattr(config, "sliding_window", None) is not None or any(
        kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()
    ):
        raise Refused("a layer attends to a window alone")
    if base.capabilities.rotary_boundary_tokens is not None:
        raise Refused("rotary positions look at the length of a whole row")
    if not base.capabilities.packed_attention or model._is_stateful:
        raise Refused("the model attends by itself, or keeps a recurrent state")
    rows = _rows(model, (5, 9, 6), 2)
    whole = collate(rows, 0)
    each = [row_of(whole, number) for number in range(len(rows))]
    wanted = torch.cat([completion_nll(base, one) for one in each])
    with attention.packed_sequences([one.input_ids_BT.shape[1] for one in each]):
        return [(completion_nll(base, pack_rows(each)), wanted)]


def probe_lanes(base: PackedBase) -> None:
    """Find out whether a copy of the modules of a base computes what the base does, to the bit."""
    ids = torch.arange(1, 9)[None] % base.model.get_input_embeddings().weight.shape[0]

    @torch.no_grad()
    def logits_of_both() -> Pairs:
        copied = base.copy_modules()  # some models cannot be copied: their adapters train in turn
        return [
            (copied.model(input_ids=ids, use_cache=False).logits, base.model(input_ids=ids, use_cache=False).logits)
        ]

    _settle(base.loaded, "cpu_lanes", why_not(logits_of_both, torch.equal))


def probe_token_graphs(base: LoadedBase) -> None:
    """Find out whether tokens of this base can be replayed, with the plain way's logits and in less time."""

    def is_fatal(error: Exception) -> bool:
        return is_out_of_memory(error) or is_lost(str(device_of(base.model)))

    _settle(base, "token_graphs", why_not(lambda: _replayed_tokens(base), _rounding(base), is_fatal))


def _replayed_tokens(base: LoadedBase) -> Pairs:
    if device_of(base.model).type != "cuda" or not base.capabilities.ragged_cache:
        raise Refused("tokens are replayed on a GPU alone, over a cache of rows of unequal length")
    _tokens(base, in_graph=False, watch=SyncDetector())
    wanted, plain_s = _tokens(base, in_graph=False)
    found, replayed_s = _tokens(base, in_graph=True)
    _check_gain(replayed_s, plain_s)
    return [(found, wanted)]


def _check_gain(replayed_s: float, plain_s: float) -> None:
    if replayed_s > GAIN * plain_s:
        raise Refused(f"a replay takes {replayed_s * 1000:.2f} ms, the plain way {plain_s * 1000:.2f} ms")


@torch.no_grad()
def _tokens(base: LoadedBase, in_graph: bool, watch: SyncDetector | None = None) -> tuple[Tensor, float]:
    """Return the logits of a few tokens of a few rows, and the seconds of the later ones; `watch` sees one token."""
    model = base.model
    device = device_of(model)
    config = _text_config(model)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    prompt = torch.arange(TRIED_ROWS * 3, device=device).view(TRIED_ROWS, 3) % vocabulary
    lengths = [1 + row % 3 for row in range(TRIED_ROWS)]
    states = model(input_ids=prompt, past_key_values=DynamicCache(config=config), use_cache=True).past_key_values
    filler = StaticFiller(lengths, TRIED_TOKENS)
    filler.add(Prefill(range(TRIED_ROWS), lengths, states))
    cache = filler.cache(config, max(lengths))
    positions_R1 = torch.tensor(lengths, device=device)[:, None]
    found: list[Tensor] = []
    began = 0.0
    with token_steps(base, cache, in_graph) as step:
        for number in range(TRIED_TOKENS):
            if number == 2:  # the first was plain, the second was captured
                torch.cuda.synchronize(device)
                began = time.monotonic()
            ids_R1 = (prompt[:, :1] + number) % vocabulary
            with watch if watch is not None and number == 1 else nullcontext():
                output = model(input_ids=ids_R1, position_ids=positions_R1 + number, past_key_values=cache)
            found.append(output.logits[:, -1].clone())
        torch.cuda.synchronize(device)
    assert step is not None
    assert step.in_graph == in_graph, "the token was not captured"
    return torch.stack(found), time.monotonic() - began


def probe_step_graphs(
    base: PackedBase,
    run: Callable[[], Tensor],
    device: str,
    graphs: Callable[[SyncDetector | None], Any],
) -> bool:
    """Find out whether replays of `run` give the plain way's numbers in clearly less time; no graphs are left behind.

    `run` takes a step's batches, updates nothing and returns losses and norms; `graphs` makes what captures them.
    """

    def replayed() -> Pairs:
        base.graphs = graphs(SyncDetector())
        run()
        base.graphs = None
        wanted, plain_s = _timed(run, device)
        base.graphs = made = graphs(None)
        run()  # met for the first time
        run()  # captured, and replayed
        found, replayed_s = _timed(run, device)
        if base.graphs is not made:
            raise Refused("a capture failed")
        _check_gain(replayed_s, plain_s)
        return [(found, wanted)]

    base.graphs = None
    try:
        reason = why_not(replayed, _rounding(base.loaded), lambda error: is_lost(device))
    finally:
        base.graphs = None
    if reason is not None:
        base.loaded.refuse("step_graphs", reason)
    return reason is None


def _timed(run: Callable[[], Tensor], device: str) -> tuple[Tensor, float]:
    """Return what a run gives, and the least seconds of a few."""
    seconds = []
    for _ in range(REPEATS):
        torch.cuda.synchronize(device)
        began = time.monotonic()
        found = run()
        torch.cuda.synchronize(device)
        seconds.append(time.monotonic() - began)
    return found, min(seconds)
