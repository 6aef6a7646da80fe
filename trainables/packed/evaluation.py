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
from trainables.modeling.multi_lora import Adapter, Group, PackedBase
from trainables.packed.cpu_lanes import in_lanes, lanes_for, most_lanes
from trainables.packed.pack_size import UNMEASURED, Room
from trainables.tokenization.token_rows import Row

LANE_ROWS = 8
_accounts = threading.Lock()  # of a question whose rows several lanes read


@dataclass(eq=False)
class Question:
    """The rows of one trial that are to be read, or the prompts to be continued, and what was found."""

    adapter: Adapter | None
    items: Sequence[Any]
    found: list[Any] = field(default_factory=list)
    error: Exception | None = None  # of this question alone
    fault: Exception | None = None  # the last that failed some of its items
    failures: int = 0  # of its items
    seconds: float = 0.0  # of the device, its share of what was shared

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what was found, so that it can be asked again."""
        self.found = [None] * len(self.items)
        self.error = self.fault = None
        self.failures = 0


Place = tuple[Question, int]  # an item of a question


@dataclass(frozen=True)
class Desk:
    """Where and how questions are answered."""

    base: PackedBase
    precision: str
    device: str
    control: Control
    threads: int = 1  # of a CPU, in as many lanes where the rows suffice
    lanes: int = 1  # at work now
    room: Room = field(default_factory=lambda: Room(UNMEASURED["cpu"], LOSS_TOKENS["cpu"]))


def read_losses(desk: Desk, questions: Sequence[Question]) -> None:
    """Find (summed negative log-likelihood, tokens) of each row; raises Interrupted."""

    def read(desk: Desk, places: Sequence[Place]) -> None:
        batch = collate([question.items[index] for question, index in places], desk.base.pad_id).to(desk.device)
        desk.base.route.send(_groups(desk, places))
        with torch.no_grad(), arithmetic(desk.precision, desk.device):
            nll_N = completion_nll(desk.base.loaded, batch)
        for (question, index), result in zip(places, row_sums(nll_N, batch, len(places)), strict=True):
            question.found[index] = result

    def length(row: Row) -> int:
        return len(row.prompt_ids) + len(row.target_ids)

    def most(places: Sequence[Place]) -> int:
        question, index = places[0]
        return max(1, desk.room.loss_tokens // bucket(length(question.items[index]), BUCKET_TOKENS))

    def narrow(places: Sequence[Place], rows: int) -> None:
        question, index = places[0]
        desk.room.narrow_losses(rows * bucket(length(question.items[index]), BUCKET_TOKENS))

    count = _lanes(desk, questions)
    budget = desk.room.loss_tokens // count

    def share(rows: Sequence[Row]) -> list[list[int]]:
        lengths = [length(row) for row in rows]
        return batches(lengths, lambda width: max(1, budget // width), BUCKET_TOKENS)

    _attempt_all(desk, count, _shared(desk, questions, share), Attempt(read, _fails, most, narrow))


def write_texts(desk: Desk, questions: Sequence[Question], writing: Writing) -> None:
    """Find the completion of each prompt, or in one line why there is none; raises Interrupted."""
    beams = writing.decoding.num_beams if writing.decoding.strategy == "beam" else 1

    def most(places: Sequence[Place]) -> int:
        return max(1, desk.room.now.rows // beams)

    def narrow(places: Sequence[Place], rows: int) -> None:
        # Whether it was the reading of prompts or the states of so many rows that was too much is not known.
        desk.room.narrow(rows=rows * beams)
        desk.room.narrow_losses(desk.room.loss_tokens // 2)

    count = _lanes(desk, questions)

    def write(desk: Desk, places: Sequence[Place]) -> None:
        def send(rows: Sequence[int]) -> None:
            desk.base.route.send(_groups(desk, [places[row] for row in rows]))

        prompts: list[Prompt] = [question.items[index] for question, index in places]
        with arithmetic(desk.precision, desk.device):
            now = replace(writing, read_tokens=max(1, desk.room.loss_tokens // count))
            results = generate_batch(desk.base.loaded, prompts, now, desk.control, send)
        for (question, index), result in zip(places, results, strict=True):
            question.found[index] = result

    def share(prompts: Sequence[Prompt]) -> list[list[int]]:
        return decoding_batches(desk.base.loaded, prompts, most(()), writing)

    shared = _shared(desk, questions, share)
    parts = [part for places in shared for part in _parts(places, count)]
    _attempt_all(desk, count, parts, Attempt(write, _fails_in_part, most, narrow))
    for question in questions:
        if question.items and question.failures == len(question.items):
            question.error = question.fault


def _shared(
    desk: Desk,
    questions: Sequence[Question],
    share: Callable[[Sequence[Any]], list[list[int]]],
) -> list[list[Place]]:
    """Return the items of all questions in batches; an adapter of the output head has batches of its own."""
    alone = [one for one in questions if one.adapter is not None and desk.base.adapts_head(one.adapter)]
    found = []
    for members in ([one for one in questions if one not in alone], *([one] for one in alone)):
        places = [(question, index) for question in members for index in range(len(question.items))]
        items = [question.items[index] for question, index in places]
        found += [[places[position] for position in group] for group in share(items)]
    return found


def _lanes(desk: Desk, questions: Sequence[Question]) -> int:
    """Return in how many lanes the rows are best read: few together are not worth a reading of all weights for each."""
    rows = sum(len(question.items) for question in questions)
    return lanes_for(desk.base, min(most_lanes(desk.threads), rows // LANE_ROWS))


def _parts(places: list[Place], count: int) -> list[list[Place]]:
    """Return the places of a batch in so many parts of about equal prompts, in the order of the places."""
    if count == 1:
        return [places]
    ends = list(itertools.accumulate(len(question.items[index].ids) for question, index in places))
    of = [min(count - 1, (end - 1) * count // ends[-1]) for end in ends]
    parts = [[place for place, part in zip(places, of, strict=True) if part == number] for number in range(count)]
    return [part for part in parts if part]


def _groups(desk: Desk, places: Sequence[Place]) -> list[Group]:
    groups: list[Group] = []
    for row, (question, _) in enumerate(places):
        if groups and groups[-1].adapter is question.adapter:
            groups[-1] = Group(question.adapter, groups[-1].start, row + 1)
        else:
            groups.append(Group(question.adapter, row, row + 1))
    return groups


@dataclass(frozen=True)
class Attempt:
    """How a batch is done, what becomes of one that fails, and how many may share: `most` now, fewer by `narrow`."""

    work: Callable[[Desk, Sequence[Place]], None]
    fails: Callable[[Sequence[Place], Exception], None]
    most: Callable[[Sequence[Place]], int]
    narrow: Callable[[Sequence[Place], int], None]


def _attempt_all(desk: Desk, count: int, shared: Sequence[list[Place]], how: Attempt) -> None:
    """Do batches, in so many lanes; raises Interrupted."""
    left = iter(shared)  # of all lanes

    def lane(base: PackedBase) -> None:
        own = replace(desk, base=base, lanes=count)
        for places in left:
            _attempt(own, places, how)

    in_lanes(desk.base, count, desk.threads, lane)


def _attempt(desk: Desk, places: Sequence[Place], how: Attempt) -> None:
    """Do a batch, in halves where memory does not suffice, and question by question where it fails otherwise.

    Raises Interrupted.
    """
    places = [place for place in places if place[0].error is None]
    if not places:
        return
    size = how.most(places)
    if len(places) > size:  # narrowed since the batches were made
        for start in range(0, len(places), size):
            _attempt(desk, places[start : start + size], how)
        return
    if desk.control() == "interrupt":
        raise Interrupted("interrupted while evaluating")
    if desk.base.model.training:
        desk.base.model.eval()
    began = time.monotonic()
    owners = list(dict.fromkeys(question for question, _ in places))
    try:
        how.work(desk, places)
    except Interrupted:
        raise
    except Exception as error:
        failed: Exception | None = error
    else:
        failed = None
    finally:
        desk.base.route.clear()
    if failed is None:
        share = (time.monotonic() - began) / len(places) / desk.lanes
        with _accounts:
            for question, _ in places:
                question.seconds += share
    elif is_out_of_memory(failed) and desk.base.drop_graphs():
        give_back(desk.device, failed)
        _attempt(desk, places, how)
    elif is_out_of_memory(failed) and len(places) > 1:
        give_back(desk.device, failed)
        how.narrow(places, len(places) // 2)
        _attempt(desk, places, how)
    elif len(owners) > 1:
        for owner in owners:
            _attempt(desk, [place for place in places if place[0] is owner], how)
    elif is_lost(desk.device):
        _fails(places, failed)
    else:
        how.fails(places, failed)


def _fails(places: Sequence[Place], error: Exception) -> None:
    places[0][0].error = error


def _fails_in_part(places: Sequence[Place], error: Exception) -> None:
    """A text that cannot be written is a failed row; without memory, or for an unknown fault, all fails."""
    question = places[0][0]
    if is_out_of_memory(error) or not isinstance(error, RuntimeError | IndexError | ValueError):
        question.error = error
        return
    with _accounts:
        question.fault = error
        question.failures += len(places)
    for _, index in places:
        question.found[index] = f"{type(error).__name__}: {error}".splitlines()[0]
