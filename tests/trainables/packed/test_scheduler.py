"""The pack's door: who enters when, without a model."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from waiting import assert_stays, wait_until

from trainables.jobs import Interrupted, go_on
from trainables.packed.adapter_optimizer import NextStep
from trainables.packed.device_request import DeviceRequest, PackMember
from trainables.packed.evaluation import ReadRequest
from trainables.packed.pack_size import PackLimits, PackSize
from trainables.packed.scheduler import GRACE_S, Pack

ONE, TWO = ("one", "none", "fp32"), ("two", "none", "fp32")


class Door:
    """A pack of some slots, and the members whose threads have come to it, in the order of entering."""

    def __init__(self, slots: int) -> None:
        self.pack = Pack("cpu", PackLimits(PackSize(slots, 1, 1), 1024))
        self.entered: list[str] = []

    def come(self, name: str, key: tuple[str, ...], is_adapted: bool = True) -> PackMember:
        """Have a thread come to the door, and return when it waits there or is inside."""
        member = PackMember(name, key, is_adapted)

        def enter() -> None:
            self.pack.join(member, go_on)
            self.entered.append(name)

        threading.Thread(target=enter, daemon=True).start()
        wait_until(lambda: name in self.entered or member in self.pack._waiting, look_s=0.001)
        return member

    def settle(self, count: int) -> list[str]:
        """Wait until `count` have entered, and a little for one too many."""
        wait_until(lambda: len(self.entered) >= count, look_s=0.001)
        assert_stays(lambda: len(self.entered) == count, 0.25)
        return self.entered


def test_trials_of_another_base_that_come_between_do_not_split_a_pack() -> None:
    door = Door(slots=4)
    first = door.come("one-a", ONE)
    between = [door.come("two-a", TWO), door.come("two-b", TWO)]
    later = door.come("one-b", ONE)
    assert door.settle(2) == ["one-a", "one-b"]
    door.pack.leave(first)
    assert door.settle(2) == ["one-a", "one-b"]
    door.pack.leave(later)
    assert sorted(door.settle(4)) == ["one-a", "one-b", "two-a", "two-b"]
    assert [member.packmates for member in between] == [{"two-b"}, {"two-a"}]


def test_places_are_given_in_the_order_of_coming_and_a_baseline_takes_none() -> None:
    door = Door(slots=1)
    first = door.come("a", ONE)
    for name in ("b", "c"):
        door.come(name, ONE)
    door.come("zero-shot", ONE, is_adapted=False)
    assert door.settle(2) == ["a", "zero-shot"]
    door.pack.leave(first)
    assert door.settle(3) == ["a", "zero-shot", "b"]


def test_one_who_waits_at_the_door_can_be_called_away() -> None:
    door = Door(slots=1)
    door.come("a", ONE)
    with pytest.raises(Interrupted, match="waiting for a place"):
        door.pack.join(PackMember("b", ONE), lambda: "interrupt")
    assert door.pack._waiting == []


def test_an_evaluation_waits_for_the_trial_whose_step_has_just_ended() -> None:
    """Its own question comes in a moment, and then all share their batches."""
    answered: list[int] = []

    class Slow(Pack):
        def _take(self, base: Any, next_steps: Sequence[NextStep]) -> list[Any]:
            time.sleep(2 * GRACE_S)  # longer than one who has asked would wait for one who is busy elsewhere
            return [None] * len(next_steps)

        def _read(self, asks: Sequence[DeviceRequest]) -> list[Any]:
            answered.append(len(asks))
            return [None] * len(asks)

    pack = Slow("cpu")
    members = [PackMember(name, ONE) for name in "ab"]
    for member in members:
        pack.join(member, go_on)
    optimizer = SimpleNamespace(adapter=SimpleNamespace(train=SimpleNamespace(gradient_checkpointing=False)))

    def trains_and_asks() -> None:
        pack.ask(DeviceRequest(members[0], go_on, next_step=NextStep(optimizer, [])))  # type: ignore[arg-type]
        time.sleep(GRACE_S / 4)  # it writes its book
        pack.ask(DeviceRequest(members[0], go_on, request=ReadRequest(None, [])))

    other = threading.Thread(target=trains_and_asks)
    other.start()
    time.sleep(GRACE_S / 4)
    pack.ask(DeviceRequest(members[1], go_on, request=ReadRequest(None, [])))
    other.join()
    assert answered == [2]


def test_trials_that_stepped_together_step_together_again() -> None:
    """Each asks a moment after the other; the first to ask must not be taken alone, and the others without it."""
    together: list[int] = []

    class SharedBatch(Pack):
        def _take(self, base: Any, next_steps: Sequence[NextStep]) -> list[Any]:
            together.append(len(next_steps))
            return [None] * len(next_steps)

    pack = SharedBatch("cpu", PackLimits(PackSize(4, 3, 1), 1024))
    pack.uses_lanes = False
    members = [PackMember(name, ONE) for name in "abc"]
    for member in members:
        pack.join(member, go_on)
    optimizer = SimpleNamespace(adapter=SimpleNamespace(train=SimpleNamespace(gradient_checkpointing=False)))
    ready = threading.Barrier(len(members))

    def trains(number: int, steps: int) -> None:
        ready.wait()
        for _ in range(steps):
            pack.ask(DeviceRequest(members[number], go_on, next_step=NextStep(optimizer, [])))  # type: ignore[arg-type]
            time.sleep(0.005 * number)  # it writes its book
        pack.leave(members[number])

    trials = [threading.Thread(target=trains, args=(number, 6 + number)) for number in range(3)]
    for one in trials:
        one.start()
    for one in trials:
        one.join()
    assert sum(together) == 6 + 7 + 8
    # Who is first is taken alone once at the start, and those who train longer go on without the others.
    assert together.count(3) >= 5, together


def test_a_trial_that_stays_away_holds_the_others_up_no_longer_than_a_moment() -> None:
    class SharedBatch(Pack):
        def _take(self, base: Any, next_steps: Sequence[NextStep]) -> list[Any]:
            return [None] * len(next_steps)

    pack = SharedBatch("cpu", PackLimits(PackSize(4, 2, 1), 1024))
    pack.uses_lanes = False
    members = [PackMember(name, ONE) for name in "ab"]
    for member in members:
        pack.join(member, go_on)
    optimizer = SimpleNamespace(adapter=SimpleNamespace(train=SimpleNamespace(gradient_checkpointing=False)))
    for number in (0, 1):
        pack.ask(DeviceRequest(members[number], go_on, next_step=NextStep(optimizer, [])))  # type: ignore[arg-type]
    time.sleep(GRACE_S)  # and the first never asks again
    members[1].stepped = None
    began = time.monotonic()
    for _ in range(20):
        pack.ask(DeviceRequest(members[1], go_on, next_step=NextStep(optimizer, [])))  # type: ignore[arg-type]
    assert time.monotonic() - began < 10 * GRACE_S  # one that was waited for each time would make it 20
