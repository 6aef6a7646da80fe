"""Losses and texts of several adapters, and of the base alone, in shared batches.

Rows of equal padded length share a batch whoever asked for them, ordered by adapter. A row's result is that of the row
alone, so who else asks changes nothing. A batch that fails is made again adapter by adapter, so that a fault is its
owner's alone.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from trainables.decoding.generate import Prompt, Writing, decoding_batches, generate_batch
from trainables.hardware.device_memory import give_back, is_lost, is_out_of_memory
from trainables.jobs import Control, Interrupted
from trainables.modeling.base_model import arithmetic
from trainables.modeling.loss import BUCKET_TOKENS, LOSS_TOKENS, batches, bucket, collate, completion_nll, row_sums
from trainables.modeling.multi_lora import Adapter, AdapterRows, PackedBase
from trainables.packed.cpu_lanes import in_lanes, lanes_for, most_lanes
from trainables.packed.pack_size import UNMEASURED, PackLimits
from trainables.tokenization.token_rows import TokenRow

LANE_ROWS = 8
_accounts = threading.Lock()  # of a request whose rows several lanes read


@dataclass(eq=False)
class ReadRequest:
    """Rows of one trial whose losses are wanted, or its prompts to be continued, and what was found of each."""

    adapter: Adapter | None
    items: Sequence[Any]
    found: list[Any] = field(default_factory=list)
    error: Exception | None = None  # of this request alone
    fault: Exception | None = None  # the last that failed some of its items
    failures: int = 0  # of its items
    seconds: float = 0.0  # of the device, its share of what was shared

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was found, so that it can be read again."""
        self.found = [None] * len(self.items)
        self.error = self.fault = None
        self.failures = 0


RequestItem = tuple[ReadRequest, int]  # an item of a request, by its number


@dataclass(frozen=True)
class ReadContext:
    """The base, device and limits that requests are read with."""

    base: PackedBase
    precision: str
    device: str
    control: Control
    threads: int = 1  # of a CPU, in as many lanes where the rows suffice
    lanes: int = 1  # at work now
    limits: PackLimits = field(default_factory=lambda: PackLimits(UNMEASURED["cpu"], LOSS_TOKENS["cpu"]))


def read_losses(context: ReadContext, requests: Sequence[ReadRequest]) -> None:
    """Find (summed negative log-likelihood, tokens) of each row; raises Interrupted."""

    def read(context: ReadContext, places: Sequence[RequestItem]) -> None:
        batch = collate([request.items[index] for request, index in places], context.base.pad_id).to(context.device)
        context.base.route.send(_groups(context, places))
        with torch.no_grad(), arithmetic(context.precision, context.device):
            nll_N = completion_nll(context.base.loaded, batch)
        for (request, index), result in zip(places, row_sums(nll_N, batch, len(places)), strict=True):
            request.found[index] = result

    def length(row: TokenRow) -> int:
        return len(row.prompt_ids) + len(row.target_ids)

    def most(places: Sequence[RequestItem]) -> int:
        request, index = places[0]
        return max(1, context.limits.loss_tokens // bucket(length(request.items[index]), BUCKET_TOKENS))

    def narrow(places: Sequence[RequestItem], rows: int) -> None:
        request, index = places[0]
        context.limits.narrow_losses(rows * bucket(length(request.items[index]), BUCKET_TOKENS))

    count = _lanes(context, requests)
    budget = context.limits.loss_tokens // count

    def share(rows: Sequence[TokenRow]) -> list[list[int]]:
        lengths = [length(row) for row in rows]
        return batches(lengths, lambda width: max(1, budget // width), BUCKET_TOKENS)

    _attempt_all(context, count, _shared(context, requests, share), ReadAttempt(read, _fails, most, narrow))


def write_texts(context: ReadContext, requests: Sequence[ReadRequest], writing: Writing) -> None:
    """Find the completion of each prompt, or in one line why there is none; raises Interrupted."""
    beams = writing.decoding.num_beams if writing.decoding.strategy == "beam" else 1

    def most(places: Sequence[RequestItem]) -> int:
        return max(1, context.limits.now.rows // beams)

    def narrow(places: Sequence[RequestItem], rows: int) -> None:
        # Whether it was the reading of prompts or the states of so many rows that was too much is not known.
        context.limits.narrow(rows=rows * beams)
        context.limits.narrow_losses(context.limits.loss_tokens // 2)

    count = _lanes(context, requests)

    def write(context: ReadContext, places: Sequence[RequestItem]) -> None:
        def send(rows: Sequence[int]) -> None:
            context.base.route.send(_groups(context, [places[row] for row in rows]))

        prompts: list[Prompt] = [request.items[index] for request, index in places]
        with arithmetic(context.precision, context.device):
            now = replace(writing, read_tokens=max(1, context.limits.loss_tokens // count))
            results = generate_batch(context.base.loaded, prompts, now, context.control, send)
        for (request, index), result in zip(places, results, strict=True):
            request.found[index] = result

    def share(prompts: Sequence[Prompt]) -> list[list[int]]:
        return decoding_batches(context.base.loaded, prompts, most(()), writing)

    shared = _shared(context, requests, share)
    parts = [part for places in shared for part in _parts(places, count)]
    _attempt_all(context, count, parts, ReadAttempt(write, _fails_in_part, most, narrow))
    for request in requests:
        if request.items and request.failures == len(request.items):
            request.error = request.fault


def _shared(
    context: ReadContext,
    requests: Sequence[ReadRequest],
    share: Callable[[Sequence[Any]], list[list[int]]],
) -> list[list[RequestItem]]:
    """Return the items of all requests in batches; an adapter of the output head has batches of its own."""
    alone = [one for one in requests if one.adapter is not None and context.base.adapts_head(one.adapter)]
    found = []
    for members in ([one for one in requests if one not in alone], *([one] for one in alone)):
        places = [(request, index) for request in members for index in range(len(request.items))]
        items = [request.items[index] for request, index in places]
        found += [[places[position] for position in group] for group in share(items)]
    return found


def _lanes(context: ReadContext, requests: Sequence[ReadRequest]) -> int:
    """Return in how many lanes the rows are best read: few together are not worth a reading of all weights for each."""
    rows = sum(len(request.items) for request in requests)
    return lanes_for(context.base, min(most_lanes(context.threads), rows // LANE_ROWS))


def _parts(places: list[RequestItem], count: int) -> list[list[RequestItem]]:
    """Return the items of a batch in `count` parts of about equally long prompts, in their order."""
    if count == 1:
        return [places]
    ends = list(itertools.accumulate(len(request.items[index].ids) for request, index in places))
    of = [min(count - 1, (end - 1) * count // ends[-1]) for end in ends]
    parts = [[place for place, part in zip(places, of, strict=True) if part == number] for number in range(count)]
    return [part for part in parts if part]


def _groups(context: ReadContext, places: Sequence[RequestItem]) -> list[AdapterRows]:
    groups: list[AdapterRows] = []
    for row, (request, _) in enumerate(places):
        if groups and groups[-1].adapter is request.adapter:
            groups[-1] = AdapterRows(request.adapter, groups[-1].start, row + 1)
        else:
            groups.append(AdapterRows(request.adapter, row, row + 1))
    return groups


@dataclass(frozen=True)
class ReadAttempt:
    """How a batch is read, what becomes of one that fails, and how many items share one: `most`, fewer by `narrow`."""

    work: Callable[[ReadContext, Sequence[RequestItem]], None]
    fails: Callable[[Sequence[RequestItem], Exception], None]
    most: Callable[[Sequence[RequestItem]], int]
    narrow: Callable[[Sequence[RequestItem], int], None]


def _attempt_all(context: ReadContext, count: int, shared: Sequence[list[RequestItem]], how: ReadAttempt) -> None:
    """Read batches, in so many lanes; raises Interrupted."""
    left = iter(shared)  # of all lanes

    def lane(base: PackedBase) -> None:
        own = replace(context, base=base, lanes=count)
        for places in left:
            _attempt(own, places, how)

    in_lanes(context.base, count, context.threads, lane)


def _attempt(context: ReadContext, places: Sequence[RequestItem], how: ReadAttempt) -> None:
    """Read a batch, in halves where memory does not suffice, and request by request where it fails otherwise.

    Raises Interrupted.
    """
    places = [place for place in places if place[0].error is None]
    if not places:
        return
    size = how.most(places)
    if len(places) > size:  # narrowed since the batches were made
        for start in range(0, len(places), size):
            _attempt(context, places[start : start + size], how)
        return
    if context.control() == "interrupt":
        raise Interrupted("interrupted while evaluating")
    if context.base.model.training:
        context.base.model.eval()
    began = time.monotonic()
    owners = list(dict.fromkeys(request for request, _ in places))
    try:
        how.work(context, places)
    except Interrupted:
        raise
    except Exception as error:
        failed: Exception | None = error
    else:
        failed = None
    finally:
        context.base.route.clear()
    if failed is None:
        share = (time.monotonic() - began) / len(places) / context.lanes
        with _accounts:
            for request, _ in places:
                request.seconds += share
    elif is_out_of_memory(failed) and context.base.drop_graphs():
        give_back(context.device, failed)
        _attempt(context, places, how)
    elif is_out_of_memory(failed) and len(places) > 1:
        give_back(context.device, failed)
        how.narrow(places, len(places) // 2)
        _attempt(context, places, how)
    elif len(owners) > 1:
        for owner in owners:
            _attempt(context, [place for place in places if place[0] is owner], how)
    elif is_lost(context.device):
        _fails(places, failed)
    else:
        how.fails(places, failed)


def _fails(places: Sequence[RequestItem], error: Exception) -> None:
    places[0][0].error = error


def _fails_in_part(places: Sequence[RequestItem], error: Exception) -> None:
    """A text that cannot be written is a failed row; without memory, or for an unknown fault, all fails."""
    request = places[0][0]
    if is_out_of_memory(error) or not isinstance(error, RuntimeError | IndexError | ValueError):
        request.error = error
        return
    with _accounts:
        request.fault = error
        request.failures += len(places)
    for _, index in places:
        request.found[index] = f"{type(error).__name__}: {error}".splitlines()[0]
