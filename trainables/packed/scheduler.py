"""The pack: the trials that now share one device, and the one thread that owns it.

A trial's own thread runs the trial and asks; the device's thread answers. Asked for are calls (to load, to start an
adapter), optimizer steps, losses and texts. Steps are taken in turn, on a CPU in lanes, before anything else: an
evaluation waits until no trial can train, so that what is due at about the same time, of any trial, shares its batches.
Nobody waits for a trial that is busy elsewhere, and what shares a batch or takes a lane changes no result.

Where memory runs out, what shares a batch is halved. Where it does not even suffice for one trial's part, the youngest
trial leaves the pack with its checkpoint and waits for a place; a trial that is alone then fails.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import TimeoutError as NotYet
from typing import Any

import torch

from trainables.hardware.cpu_threads import compute_on
from trainables.hardware.device_memory import give_back, is_out_of_memory
from trainables.jobs import Control, Interrupted, PackNarrowed
from trainables.model_files.load_pretrained import quiet
from trainables.modeling.loss import LOSS_TOKENS
from trainables.modeling.multi_lora import PackedBase
from trainables.packed.adapter_optimizer import NextStep, StepResult
from trainables.packed.cpu_lanes import in_lanes, lanes_for
from trainables.packed.device_request import DeviceRequest, PackMember, TrialTooLarge
from trainables.packed.evaluation import ReadContext, read_losses, write_texts
from trainables.packed.pack_size import UNMEASURED, PackLimits
from trainables.packed.training import take_steps

# What shares a batch waits so long for the next ask of a trial that was answered, an evaluation also of a busy one.
GRACE_S = 0.1
LEAST_GRACE_S = 0.03  # eight trials log a step in 10 ms of Python
PATIENCE_S = 60.0  # and no longer than this for those that train
POLL_S = 0.5  # a trial that waits looks whether it is to leave; each look takes Python from the device's thread
IDLE_S = 1.0


class Pack:
    """The trials that share one base, and the thread that computes for them; the methods are safe from any thread.

    `limits`: how many may share; the engine sets it anew with a base. `threads`: of torch, on a CPU.
    """

    def __init__(self, device: str, limits: PackLimits | None = None, threads: int | None = None) -> None:
        kind = device.split(":")[0]
        self.device = device
        self.threads = threads or torch.get_num_threads()
        self.uses_lanes = kind == "cpu"  # adapters that train at a time do so in lanes, else in one batch
        self.limits = limits or PackLimits(UNMEASURED[kind], LOSS_TOKENS[kind])
        self.base: PackedBase | None = None
        self.base_key: tuple[str, ...] = ()
        self._members: list[PackMember] = []
        self._waiting: list[PackMember] = []
        self._asks: list[DeviceRequest] = []
        self._answered = 0.0  # when the last ask was
        self._shared_s = GRACE_S  # of the last steps that were taken together
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()

    # --- for the threads of trials -------------------------------------------------------------------------------

    def join(self, member: PackMember, control: Control) -> None:
        """Let a trial in, in the order of coming, once trials of another base have left and there is a place.

        Raises Interrupted.
        """
        with self._changed:
            self._waiting.append(member)
            try:
                while not self._may_enter(member):
                    self._changed.wait(POLL_S)
                    if control() == "interrupt":
                        raise Interrupted("interrupted while waiting for a place in the pack")
            finally:
                self._waiting.remove(member)
                self._changed.notify_all()
            for other in self._members:
                other.packmates.add(member.name)
                member.packmates.add(other.name)
            self._members.append(member)
            member.joined = time.monotonic()

    def _may_enter(self, member: PackMember) -> bool:
        ahead = [*self._members, *self._waiting[: self._waiting.index(member)]]
        if ahead and ahead[0].key != member.key:
            return False
        # Those of another base that came between wait until all of this one have left: else it would be loaded twice.
        alike = [other for other in ahead if other.key == member.key]
        return not member.is_adapted or sum(other.is_adapted for other in alike) < self.limits.now.slots

    def leave(self, member: PackMember) -> None:
        with self._changed:
            self._members.remove(member)
            member.left = time.monotonic()
            self._changed.notify_all()

    def ask(self, ask: DeviceRequest) -> Any:
        """Return the answer; raises what failed, PackNarrowed, and Interrupted where told so before it is begun."""
        with self._changed:
            if ask.member.must_leave:
                raise PackNarrowed
            self._asks.append(ask)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="pack", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        while True:
            try:
                return ask.future.result(POLL_S)
            except NotYet:
                if ask.future.done():
                    return ask.future.result()
            if ask.control() == "interrupt" and self._withdraw(ask):
                raise Interrupted("interrupted while waiting for the device")

    def _withdraw(self, ask: DeviceRequest) -> bool:
        with self._changed:
            if ask not in self._asks:
                return False
            self._asks.remove(ask)
            return True

    # --- the thread of the device --------------------------------------------------------------------------------

    def _serve(self) -> None:
        compute_on(self.threads)
        while True:
            with self._changed:
                began = time.monotonic()
                chosen = self._choose()
                while not chosen:
                    if not self._members and not self._asks and time.monotonic() - began > IDLE_S:
                        self._thread = None
                        return
                    self._changed.wait(GRACE_S / 4 if self._asks else GRACE_S)
                    chosen = self._choose()
                for ask in chosen:
                    self._asks.remove(ask)
                count = self._at_a_time(chosen)
            with quiet():
                if count > 1:
                    self._train_in_lanes(chosen, count)
                else:
                    self._answer(chosen, self.base)

    def _choose(self) -> list[DeviceRequest]:
        """Return the requests to answer next, together; none while it is better to wait."""
        asks = [ask for ask in self._asks if not any(member in self._members for member in ask.after)]
        calls = [ask for ask in asks if ask.call is not None]
        if calls:
            return calls[:1]
        requests = [ask for ask in asks if ask.request is not None]
        steps = [ask for ask in asks if ask.next_step is not None]
        now = time.monotonic()
        if steps and not (requests and now - requests[0].asked > PATIENCE_S):
            return steps[:1] if self.uses_lanes else self._alike(steps, now)
        if not requests:
            return []
        all_ask = len({ask.member for ask in self._asks}) == len(self._members)
        if not all_ask and now - max(requests[-1].asked, self._answered) < GRACE_S:
            return []
        losses = [ask for ask in requests if ask.writing is None]
        return losses or [ask for ask in requests if ask.writing == requests[0].writing]

    def _alike(self, steps: Sequence[DeviceRequest], now: float) -> list[DeviceRequest]:
        """Return the steps at the front that can share batches: of one manner of checkpointing.

        None while more may come that can: all who stepped together ask again within milliseconds, one after another,
        and the first would be taken alone otherwise, the others without it, and so on.
        """

        def manner(ask: DeviceRequest) -> bool:
            assert ask.next_step is not None
            return ask.next_step.optimizer.adapter.train.gradient_checkpointing

        alike = [ask for ask in steps if manner(ask) == manner(steps[0])][: self.limits.now.together]
        asking = {ask.member for ask in self._asks}
        busy = [one for one in self._members if one not in asking and one.recomputes == manner(steps[0])]
        # No longer than about what taking them apart would cost.
        grace = min(GRACE_S, max(LEAST_GRACE_S, self._shared_s))
        is_more_to_come = any(one.stepped is not None and now - one.stepped < grace for one in busy)
        if is_more_to_come and len(alike) < self.limits.now.together:
            return []
        return sorted(alike, key=lambda ask: ask.member.joined)  # whoever came first: a graph has them in one order

    def _at_a_time(self, chosen: Sequence[DeviceRequest]) -> int:
        """Return how many adapters may train in lanes now; one alone has all cores."""
        if chosen[0].next_step is None or not self.uses_lanes:
            return 1
        elsewhere = {ask.member for ask in self._asks if ask.next_step is None}
        training = sum(member.is_adapted and member not in elsewhere for member in self._members)
        return min(self.limits.now.together, training)

    def _train_in_lanes(self, chosen: Sequence[DeviceRequest], count: int) -> None:
        """Take steps, begun with those chosen, until a lane finds none: something else may be due then."""
        assert self.base is not None
        lanes = lanes_for(self.base, count)
        if lanes < count:
            self.limits.narrow(together=lanes)
        left, over = list(chosen), threading.Event()

        def lane(base: PackedBase) -> None:
            while asks := self._next_steps(left, over):
                self._answer(asks, base, lanes)

        in_lanes(self.base, lanes, self.threads, lane)

    def _next_steps(self, left: list[DeviceRequest], over: threading.Event) -> list[DeviceRequest]:
        """Return what a lane is to do next, waiting a little for trials that were answered just now."""
        with self._changed:
            if left:
                return [left.pop()]
            until = time.monotonic() + GRACE_S
            while not over.is_set():
                chosen = self._choose()
                if chosen and chosen[0].next_step is not None:
                    for ask in chosen:
                        self._asks.remove(ask)
                    return chosen
                if chosen or time.monotonic() >= until:
                    over.set()
                    break
                self._changed.wait(max(0.0, until - time.monotonic()))
            return []

    def _answer(self, asks: Sequence[DeviceRequest], base: PackedBase | None, lanes: int = 1) -> None:
        """Answer what was asked, with the modules of this base, in one of so many lanes."""
        began = time.monotonic()
        with self._changed:
            shared = [member for member in self._members if member.is_adapted]
        answers: list[Any] = []
        try:
            if asks[0].call is not None:
                answers = [asks[0].call()]
            elif asks[0].next_step is not None:
                answers = self._take(base, [ask.next_step for ask in asks if ask.next_step is not None])
            else:
                answers = self._read(asks)
        except BaseException as error:
            answers = [error] * len(asks)
        seconds = (time.monotonic() - began) / lanes
        for ask, answer in zip(asks, answers, strict=True):
            ask.member.seconds += ask.request.seconds if ask.request is not None else seconds / len(asks)
            ask.member.stepped = time.monotonic() if ask.next_step is not None else None
            if ask.next_step is not None:
                ask.member.recomputes = ask.next_step.optimizer.adapter.train.gradient_checkpointing
                self._shared_s = seconds
            if not isinstance(answer, BaseException):
                ask.future.set_result(answer)
            elif not self._make_room(ask, answer, shared):
                ask.future.set_exception(answer)
        self._answered = time.monotonic()

    def _make_room(self, ask: DeviceRequest, error: BaseException, shared: Sequence[PackMember]) -> bool:
        """Have the youngest trial leave where memory does not suffice for this; False where that would not help.

        `shared`: those that were there with weights of their own when it was begun.
        """
        if not is_out_of_memory(error) or isinstance(error, TrialTooLarge):
            return False
        is_spoiled = ask.next_step is not None and ask.next_step.is_spoiled
        if self.base is not None and self.base.drop_graphs() and not is_spoiled:
            give_back(self.device, error)
            with self._changed:
                self._asks.insert(0, ask)
            return True
        with self._changed:
            leaving = [member for member in self._members if member.must_leave]
            staying = [member for member in self._members if member.is_adapted and not member.must_leave]
            if not leaving and all(member in self._members for member in shared):
                if not staying or staying == [ask.member]:
                    return False
                leaving = [max(staying, key=lambda member: member.joined)]
                self.limits.narrow_slots(len(staying) - 1)
            if is_spoiled:
                leaving.append(ask.member)
            give_back(self.device, error)
            for member in leaving:
                member.must_leave = True
            ask.after = tuple(leaving)
            self._asks.insert(0, ask)
            for one in [one for one in self._asks if one.member in leaving]:
                self._asks.remove(one)
                one.future.set_exception(PackNarrowed(one.next_step is not None and one.next_step.is_spoiled))
            self._changed.notify_all()
        return True

    def _take(self, base: PackedBase | None, next_steps: Sequence[NextStep]) -> list[StepResult | Exception]:
        assert base is not None
        return take_steps(base, next_steps, self.device, lambda width: self.limits.narrow(together=width))

    def _read(self, asks: Sequence[DeviceRequest]) -> list[Any]:
        """Return the requests answered, and the errors of those that memory did not suffice for."""
        assert self.base is not None

        def control() -> Any:
            return "interrupt" if all(ask.control() == "interrupt" for ask in asks) else "go"

        requests = [ask.request for ask in asks if ask.request is not None]
        for request in requests:
            request.begin()
        threads = self.threads if self.uses_lanes else 1
        context = ReadContext(self.base, asks[0].member.key[-1], self.device, control, threads, limits=self.limits)
        if asks[0].writing is None:
            read_losses(context, requests)
        else:
            write_texts(context, requests, asks[0].writing)
        return [
            request.error if request.error is not None and is_out_of_memory(request.error) else request
            for request in requests
        ]
