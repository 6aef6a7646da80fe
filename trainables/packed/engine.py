"""The packed engine: many trials train and are evaluated over one frozen base, each as if it were alone.

`run` is called from as many threads as there are slots; each takes its trial to its result and asks the pack's one
thread for the device. Texts and losses of trials that are due together share batches. On a CPU adapters train in lanes,
a core each, since there a wider training batch gains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trainables.bases import probes
from trainables.bases.loaded_bases import BaseCache, usable_bytes
from trainables.config import Decoding, TrainConfig, TrialConfig
from trainables.decoding.generate import Completion, Prompt, Writing
from trainables.hardware import machine
from trainables.hardware.cpu_threads import one_core
from trainables.hardware.device_memory import limit_memory, reset_peak_memory
from trainables.jobs import (
    PACK_WIDTH,
    Control,
    EngineSetup,
    Interrupted,
    OnReport,
    PackNarrowed,
    TrialJob,
    TrialReport,
    go_on,
    key_of,
)
from trainables.modeling.base_model import LoadedBase, parameter_counts
from trainables.modeling.dequantize import unpack_where_room
from trainables.modeling.loss import collate
from trainables.modeling.multi_lora import Adapter, PackedBase
from trainables.modeling.onednn_linear import block_where_room
from trainables.modeling.peft_lora import WEIGHTS, write_adapter
from trainables.packed.adapter_optimizer import AdapterOptimizer, NextStep, StepResult
from trainables.packed.choose_size import PackSizeChooser
from trainables.packed.device_request import DeviceRequest, PackMember
from trainables.packed.evaluation import ReadRequest
from trainables.packed.scheduler import Pack
from trainables.packed.training import rehearse
from trainables.records.checkpoint import Checkpoint, Tensors
from trainables.records.record import Fence, SweepFolder, no_fence
from trainables.records.trial_result import TrialResult
from trainables.tokenization.encoder import Encoder
from trainables.tokenization.served_tokenizer import load_served
from trainables.tokenization.token_rows import TokenRow
from trainables.tokenization.tokenized_corpus import TokenizedExamples
from trainables.trial import preflight
from trainables.trial.preflight_report import PreflightReport
from trainables.trial.run_trial import run_trial
from trainables.trial.training_loop import MicroBatch, MicroBatches, TrainingLog, TrainingProgress, TrainSpec, resume
from trainables.trial.trial_handle import EngineShare


class PackedEngine:
    """Trains and evaluates `slots` trials at a time over one base on one device."""

    name = "packed"

    def __init__(self, setup: EngineSetup, fence: Fence = no_fence, together: int | None = None) -> None:
        self.setup = setup
        self.fence = fence
        self.slots = setup.pack_width or PACK_WIDTH
        load = partial(load_served, trust_remote_code=setup.trust_remote_code)
        self.tokenized = TokenizedExamples(
            SweepFolder(Path(setup.sweep_folder), fence), dict(setup.model_folders), load
        )
        self.pack = Pack(setup.device, threads=setup.threads or torch.get_num_threads())
        self.bases = BaseCache(setup)
        self.size_chooser = PackSizeChooser(
            setup, self.tokenized, self.slots, together, idle_bytes=lambda: self.bases.idle_bytes
        )
        self.pack.limits = self.size_chooser.limits(None)
        limit_memory(setup.device, setup.memory_bytes)
        reset_peak_memory(setup.device)

    @property
    def widths(self) -> list[dict[str, Any]]:
        """The pack size chosen for each base that was loaded."""
        return list(self.size_chooser.chosen.values())

    def warm(self, trial: TrialConfig) -> None:
        """Load the base of a trial, so that its run need not wait."""
        self.open_trial(trial.train, False, go_on).leave()

    def preflight(self, trials: list[TrialConfig]) -> PreflightReport:
        """Prove that every stage can work before anything trains; raises UserError with the reason."""
        with one_core():
            return preflight.check(self, trials)

    def base(self, config: TrainConfig) -> LoadedBase:
        """Return the frozen base of a trial."""
        handle = self.open_trial(config, False, go_on)
        try:
            return handle.base.loaded
        finally:
            handle.leave()

    def open_trial(self, config: TrainConfig, adapted: bool, control: Control, name: str = "") -> PackedTrial:
        """Let a trial into the pack, with a fresh adapter or without any; raises Interrupted."""
        member = PackMember(name, key_of(config), is_adapted=adapted)
        self.pack.join(member, control)
        try:

            def enter() -> tuple[PackedBase, Adapter | None]:
                base = self._base(config, member.key)
                if adapted:
                    self.size_chooser.check_fits(config)
                return base, base.adapter(config, self.setup.device) if adapted else None

            base, adapter = self.pack.ask(DeviceRequest(member, control, call=enter))
            return PackedTrial(self.pack, member, base, adapter, config, self.tokenized.encoder(config))
        except BaseException:
            self.pack.leave(member)
            raise

    def run(self, job: TrialJob, report: OnReport, control: Control) -> TrialResult:
        """Take a trial to its result: see `run_trial`. Called from as many threads as there are slots."""
        once = FirstReports(report)
        while True:
            try:
                with one_core():
                    return run_trial(self, job, once, control)
            except PackNarrowed:
                continue  # from its checkpoint, when there is a place in the pack again

    def _base(self, config: TrainConfig, key: tuple[str, ...]) -> PackedBase:
        """Return the packed base of a trial, loaded where it is not there; on the device's thread."""
        pack = self.pack

        def packed(loaded: LoadedBase) -> PackedBase:
            total = parameter_counts(loaded.model)[1]
            usable = usable_bytes(self.setup)
            if config.quantization == "nf4":
                unpack_where_room(loaded.model, usable)
            block_where_room(loaded, self.setup.device, usable)
            base = PackedBase(loaded, total, self.tokenized.encoder(config).pad_id)
            # Python waits for ever for a thread that it had no memory to start, and lanes start threads all the time.
            if self.setup.device == "cpu" and not machine.is_limited():
                probes.probe_lanes(base)
            return base

        if pack.base is None or key != pack.base_key:
            if pack.base is not None:
                pack.base.drop_graphs()
            pack.base = None
            pack.base = self.bases.get(config, self.tokenized.folder(config), packed)
            pack.base_key = key
            pack.limits = self.size_chooser.limits(pack.base, key)
        return pack.base


class FirstReports:
    """Passes on what was not reported before: a trial that comes back to its pack tells its steps again."""

    def __init__(self, report: OnReport) -> None:
        self.report = report
        self.step = -1

    def __call__(self, report: TrialReport) -> None:
        if report.phase == "train":
            if report.step <= self.step:
                return
            self.step = report.step
        self.report(report)


@dataclass
class PackedTrial:
    """A `TrialHandle` in the pack: the base that all share, and the adapter of a trial that trains one."""

    pack: Pack
    member: PackMember
    base: PackedBase
    adapter: Adapter | None
    config: TrainConfig
    encoder: Encoder

    def reader(self, control: Control) -> PackedReader:
        return PackedReader(self, control)

    def train(self, spec: TrainSpec, progress: TrainingProgress, checkpoint: Checkpoint | None) -> None:
        """Train to `max_steps` or until told to stop.

        Raises:
            Interrupted: told to leave; a checkpoint holds what was reached.
            Diverged: a loss, gradient norm or evaluation loss is not finite.
        """
        optimizer: AdapterOptimizer = self._call(
            lambda: AdapterOptimizer(self._own(), self.pack.device, checkpoint), spec.control
        )
        if not resume(spec, progress):
            return
        data = MicroBatches(self.config, spec.rows, spec.pad_id, progress.step)
        log = TrainingLog(
            spec,
            progress,
            data,
            moments=optimizer.moments,
            schedule_steps=optimizer.done,
            loss_scale=optimizer.scaler.get_scale if optimizer.scaler is not None else None,
            more_facts=optimizer.facts,
            clock=self.seconds,
        )
        last = False
        while not last:
            result = self._step(optimizer, data.of_step(progress.step), log)
            last = log.book_step(result.loss, result.learning_rate, result.grad_norm)

    def _step(self, optimizer: AdapterOptimizer, micro: list[MicroBatch], log: TrainingLog) -> StepResult:
        log.book_time()
        try:
            result: StepResult = self.pack.ask(
                DeviceRequest(self.member, log.spec.control, next_step=NextStep(optimizer, micro))
            )
        except Interrupted as left:
            if log.progress.step and not (isinstance(left, PackNarrowed) and left.is_spoiled):
                log.checkpoint()
            raise
        return result

    def tensors(self) -> Tensors:
        return self._own().tensors()

    def set_tensors(self, tensors: Tensors) -> None:
        self._own().set_tensors(tensors)

    def load(self, folder: Path) -> None:
        from safetensors.torch import load_file

        self.set_tensors(load_file(folder / WEIGHTS))

    def export(self, folder: Path) -> tuple[int, str]:
        config, base = self.config, self.base
        return write_adapter(
            self.tensors(), peft_description(config, base.peft_targets(config), base.has_conv1d(config)), folder
        )

    def counts(self) -> tuple[int, int]:
        return self.adapter.count if self.adapter is not None else 0, self.base.total_parameters

    def rehearse(self, rows: list[TokenRow]) -> tuple[int, float, float]:
        batch = collate(rows, self.encoder.pad_id)
        micro = MicroBatch(batch, 0, 0, sum(len(row.target_ids) for row in rows))
        loss, norm = self._call(lambda: rehearse(self.base, self._own(), micro, self.pack.device), go_on)
        return batch.input_ids_BT.numel(), loss, norm

    def seconds(self) -> float:
        return self.member.seconds

    def facts(self) -> EngineShare:
        packmates = tuple(sorted(name for name in self.member.packmates if name))
        limits = self.pack.limits
        return EngineShare(self.member.device_share, packmates, limits.recorded(), limits.narrowed_to)

    def leave(self) -> None:
        self.pack.leave(self.member)

    def _own(self) -> Adapter:
        assert self.adapter is not None, "a baseline has no adapter"
        return self.adapter

    def _call(self, work: Callable[[], Any], control: Control) -> Any:
        return self.pack.ask(DeviceRequest(self.member, control, call=work))


@dataclass(frozen=True)
class PackedReader:
    """Finds losses and texts of one trial's rows, in batches that it shares with other trials."""

    handle: PackedTrial
    control: Control

    @property
    def encoder(self) -> Encoder:
        return self.handle.encoder

    def losses(self, rows: Sequence[TokenRow]) -> list[tuple[float, int] | None]:
        """Return (summed negative log-likelihood, tokens) per row, None for one that does not fit."""
        answers = iter(self._ask([row for row in rows if row.fits], None))
        return [next(answers) if row.fits else None for row in rows]

    def texts(self, rows: Sequence[TokenRow], decoding: Decoding, max_new_tokens: int) -> list[Completion | str]:
        """Return per row what was written, or in one line why that failed."""
        encoder, seed = self.encoder, self.handle.config.seed
        prompts = [Prompt(row.example_id, row.prompt_ids, seed, row.target_ids) for row in rows if row.fits]
        writing = Writing(decoding, max_new_tokens, encoder.eos_ids, encoder.pad_id, 0, self.handle.pack.device)
        answers = iter(self._ask(prompts, writing))
        return [next(answers) if row.fits else "the example does not fit" for row in rows]

    def _ask(self, items: Sequence[Any], writing: Writing | None) -> list[Any]:
        request = ReadRequest(self.handle.adapter, items)
        self.handle.pack.ask(DeviceRequest(self.handle.member, self.control, request=request, writing=writing))
        if request.error is not None:
            raise request.error
        return request.found


def peft_description(train: TrainConfig, targets: Sequence[str], has_conv1d: bool) -> dict[str, Any]:
    """Return an adapter as PEFT describes it, without importing PEFT, which takes seconds."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": train.model,
        "r": train.lora_rank,
        "lora_alpha": train.lora_alpha,
        "lora_dropout": train.lora_dropout,
        "target_modules": list(targets),
        "fan_in_fan_out": has_conv1d,
        "bias": "none",
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }
