"""The solo engine: one trial at a time through Hugging Face Trainer and PEFT; the plain twin of the packed engine.

The base is loaded once and given back as it was after each trial.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trainables.bases.loaded_bases import BaseCache
from trainables.config import TrainConfig, TrialConfig
from trainables.hardware.device_memory import limit_memory, reset_peak_memory
from trainables.jobs import Control, EngineSetup, OnReport, TrialJob
from trainables.model_files.load_pretrained import quiet
from trainables.modeling.base_model import LoadedBase, arithmetic, parameter_counts
from trainables.modeling.loss import collate, completion_loss
from trainables.modeling.peft_lora import (
    Clock,
    adapter_parameters,
    adapter_tensors,
    attach,
    detach,
    export_adapter,
    load_adapter,
    set_adapter_tensors,
)
from trainables.records.checkpoint import Checkpoint, Tensors
from trainables.records.record import Fence, SweepFolder, no_fence
from trainables.records.trial_result import TrialResult
from trainables.solo.hf_trainer import train
from trainables.tokenization.encoder import Encoder
from trainables.tokenization.served_tokenizer import load_served
from trainables.tokenization.token_rows import TokenRow
from trainables.tokenization.tokenized_corpus import TokenizedExamples
from trainables.trial import preflight
from trainables.trial.evaluate import ModelReader
from trainables.trial.preflight_report import PreflightReport
from trainables.trial.run_trial import run_trial
from trainables.trial.training_loop import TrainingProgress, TrainSpec
from trainables.trial.trial_handle import EngineShare


class SoloEngine:
    """Trains and evaluates one trial at a time on one device."""

    name = "solo"

    def __init__(self, setup: EngineSetup, fence: Fence = no_fence) -> None:
        self.setup = setup
        self.fence = fence
        load = partial(load_served, trust_remote_code=setup.trust_remote_code)
        self.tokenized = TokenizedExamples(
            SweepFolder(Path(setup.sweep_folder), fence), dict(setup.model_folders), load
        )
        self.bases = BaseCache(setup)
        if setup.threads:
            torch.set_num_threads(setup.threads)
        limit_memory(setup.device, setup.memory_bytes)

    def warm(self, trial: TrialConfig) -> None:
        """Load the base of a trial, so that its run need not wait."""
        self.base(trial.train)

    def preflight(self, trials: list[TrialConfig]) -> PreflightReport:
        """Prove that every stage can work before anything trains; raises UserError with the reason."""
        with quiet():
            return preflight.check(self, trials)

    def base(self, config: TrainConfig) -> LoadedBase:
        """Return the frozen base of a trial."""
        base: LoadedBase = self.bases.get(config, self.tokenized.folder(config))
        return base

    def open_trial(self, config: TrainConfig, adapted: bool, control: Control, name: str = "") -> SoloTrial:
        """Return the base for one trial, with a fresh adapter or without any."""
        base, clock = self.base(config), Clock(config.seed)
        if adapted:
            base.model = attach(base.model, config, clock)
        return SoloTrial(base, clock, config, self.tokenized.encoder(config), self.setup.device, adapted)

    def run(self, job: TrialJob, report: OnReport, control: Control) -> TrialResult:
        """Take a trial to its result: see `run_trial`."""
        reset_peak_memory(self.setup.device)
        with quiet():
            return run_trial(self, job, report, control)


@dataclass
class SoloTrial:
    """A `TrialHandle` that has the base to itself, with an adapter by PEFT where the trial trains one."""

    base: LoadedBase
    clock: Clock
    config: TrainConfig
    encoder: Encoder
    device: str
    adapted: bool

    @property
    def model(self) -> Any:
        return self.base.model

    def reader(self, control: Control) -> ModelReader:
        return ModelReader(self.base, self.encoder, self.config, self.device, control)

    def train(self, spec: TrainSpec, progress: TrainingProgress, checkpoint: Checkpoint | None) -> None:
        if self.config.gradient_checkpointing:
            self.model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
        train(spec, self.base, self.clock, self.device, progress, checkpoint)

    def tensors(self) -> Tensors:
        return adapter_tensors(self.model)

    def set_tensors(self, tensors: Tensors) -> None:
        set_adapter_tensors(self.model, tensors)

    def load(self, folder: Path) -> None:
        load_adapter(self.model, folder)

    def export(self, folder: Path) -> tuple[int, str]:
        return export_adapter(self.model, folder)

    def counts(self) -> tuple[int, int]:
        trainable, total = parameter_counts(self.model)
        return trainable, total - trainable

    def rehearse(self, rows: Sequence[TokenRow]) -> tuple[int, float, float]:
        self.model.train()
        batch = collate(rows, self.encoder.pad_id).to(self.device)
        with arithmetic(self.config.precision, self.device):
            loss = completion_loss(self.base, batch, sum(len(row.target_ids) for row in rows))
        loss.backward()
        gradients = [parameter.grad for parameter in adapter_parameters(self.model).values()]
        norm = sum(float(gradient.double().square().sum()) for gradient in gradients if gradient is not None) ** 0.5
        return batch.input_ids_BT.numel(), loss.item(), norm

    def seconds(self) -> float:
        return time.monotonic()

    def facts(self) -> EngineShare:
        return EngineShare(device_share=1.0)

    def leave(self) -> None:
        """Give the base back as it was."""
        if self.adapted:
            self.base.model = detach(self.model)
            if self.config.gradient_checkpointing:
                self.model.gradient_checkpointing_disable()
