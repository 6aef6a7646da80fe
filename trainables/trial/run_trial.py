"""The way of one trial from what its record holds to its result, whatever engine runs it.

What a trial does next is read from its record: a result with this evaluation is returned, one without it is evaluated
and never trained again, a checkpoint continues. What an engine lends the trial is a `TrialHandle`.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import time
import traceback
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from trainables.config import EvalConfig, TrialConfig
from trainables.hardware.device_memory import is_lost, is_out_of_memory, peak_memory_bytes
from trainables.jobs import TRAIN_LOSS_EXAMPLES, Control, DeviceLost, Interrupted, OnReport, TrialJob, TrialReport
from trainables.records import atomic_files
from trainables.records.checkpoint import Checkpoint, drop_checkpoints, latest_checkpoint
from trainables.records.damage import adapter_faults, told
from trainables.records.lineage import settle, trained_with
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.records.trial_states import TrialState
from trainables.scoring import evaluate_library, rescore
from trainables.scoring.stored_lines import Lines, stored_lines
from trainables.tokenization.token_rows import TokenRow
from trainables.trial.evaluate import mean_loss, predictions
from trainables.trial.learning_curve import LearningCurve
from trainables.trial.training_loop import Diverged, TrainingProgress, TrainSpec, progress_of
from trainables.trial.trial_handle import EngineShare, TrialEngine, TrialHandle, trial_handle


def run_trial(engine: TrialEngine, job: TrialJob, report: OnReport, control: Control) -> TrialResult:
    """Take a trial to its result and its evaluation, whatever is left to do of them, and return the result.

    A trial's own fault is a result with state failed, diverged or oom, and its cause. Raises Interrupted, DeviceLost,
    and what the fence raises.
    """
    record = TrialRecord(Path(job.folder), engine.fence)
    trial_run = _TrialRun(engine, job.trial, record, report, control)
    try:
        return trial_run.finish()
    except Interrupted:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Interrupted(f"the disk is full: {error}") from error
        return trial_run.fail(TrialState.FAILED, error)
    except Diverged as error:
        return trial_run.fail(TrialState.DIVERGED, error)
    except (torch.OutOfMemoryError, MemoryError) as error:
        return trial_run.fail(TrialState.OOM, error)
    except Exception as error:
        # A lost lease is no fault of the trial: then this raises instead of writing.
        engine.fence()
        if is_lost(engine.setup.device):
            cause = f"the GPU is lost to this process: {error}"
            record.write_error(cause, traceback.format_exc())
            raise DeviceLost(cause) from error
        return trial_run.fail(TrialState.OOM if is_out_of_memory(error) else TrialState.FAILED, error)
    finally:
        trial_run.handle = None
        gc.collect()
        if engine.setup.device != "cpu":
            with contextlib.suppress(RuntimeError):  # of a GPU that is lost
                torch.cuda.empty_cache()


@dataclass(frozen=True)
class _Weights:
    """What a trial has trained, for its result; None of one that failed."""

    kept_step: int | None = None
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    adapter_bytes: int | None = None
    adapter_sha256: str | None = None


@dataclass(frozen=True)
class _Fit:
    """What a trial trained on and how well it knows that, for its result; None of one that failed."""

    train_loss: float | None = None
    examples_used: int | None = None
    examples_dropped: int | None = None
    sources_cut: int | None = None
    first_eval_id: str | None = None


@dataclass
class _TrialRun:
    """One trial on its way to a result, with what it needs along it."""

    engine: TrialEngine
    trial: TrialConfig
    record: TrialRecord
    report: OnReport
    control: Control
    handle: TrialHandle | None = None  # of the base and adapter that the trial has now

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.config, self.tokenized = self.trial.train, self.engine.tokenized
        self.device = self.engine.setup.device
        self.progress = TrainingProgress()
        self.evaluate_s = 0.0
        self.curve = LearningCurve(self.trial, self.tokenized)

    # --- the way -------------------------------------------------------------------------------------------------

    def finish(self) -> TrialResult:
        result = self.record.result()
        if result is not None and result.is_trained:
            self._replay(result.steps or 0)
            if self.record.needs_evaluation(self.trial.eval_id):
                self._evaluate_kept()
        else:
            self._check_interrupt()
            result = self._train_and_evaluate()
        summary = self.record.summary(self.trial.eval_id)
        splits = summary.splits if summary else {}
        loss = splits.get("validation", splits.get("test", {})).get("eval_loss")
        self.report(TrialReport(result.steps or 0, loss, result.train_loss, "done", recorded=True))
        return result

    def _train_and_evaluate(self) -> TrialResult:
        self.progress.started_at = _now()
        checkpoint = None if self.config.is_baseline else self._resume(self.progress.started_at)
        with self._opened() as handle:
            self.handle = handle
            if not self.config.is_baseline:
                return self._trained(handle, checkpoint)
            result = self._measured(handle, _Weights(0, 0, handle.counts()[1], 0))
            self.record.write_result(result)
            return result

    def _trained(self, handle: TrialHandle, checkpoint: Checkpoint | None) -> TrialResult:
        progress = self.progress
        handle.train(self._train_spec(handle), progress, checkpoint)
        kept_step = progress.step
        if self.config.keep_checkpoint == "best" and progress.best:
            handle.set_tensors(progress.best)
            self.curve.forget()
            kept_step = progress.best_step or kept_step
        self.record.fence()
        size, checksum = handle.export(self.record.adapter_folder)
        trainable, base = handle.counts()
        result = self._measured(handle, _Weights(kept_step, trainable, base, size, checksum))
        self.record.write_result(result)
        drop_checkpoints(self.record)
        return result

    def _opened(self) -> AbstractContextManager[TrialHandle]:
        return trial_handle(
            self.engine, self.config, self.control, not self.config.is_baseline, self.record.folder.name
        )

    def _resume(self, started_at: str) -> Checkpoint | None:
        """Read where the trial is, replay what it reported, and cut what it will do again from the curves."""
        checkpoint = latest_checkpoint(self.record)
        had_begun = bool(self.record.metrics()) or checkpoint is not None
        self.progress = progress_of(checkpoint)
        self.progress.restarts += had_begun
        self.progress.started_at = self.progress.started_at or started_at
        if lineage := settle(self.record, self.progress.changes):
            self.config = trained_with(self.trial.train, lineage)
        if had_begun:
            self.record.cut_metrics_after(self.progress.step)
            self._cut_what_is_owed()
        self._replay(self.progress.step)
        return checkpoint

    def _cut_what_is_owed(self) -> None:
        """Drop lines of an evaluation that an interruption came upon: it is made again."""
        step, owes = self.progress.step, self.progress.owes
        if owes:
            rows = [row for row in self.record.metrics() if row["step"] < step or row["kind"] not in owes]
            self.record.write_metrics(rows)

    def _replay(self, step: int) -> None:
        train_loss = None
        for row in self.record.metrics():
            if row["step"] > step:
                break
            if row["kind"] == "train":
                train_loss = row["train_loss"]
            elif row["kind"] == "eval":
                self.report(TrialReport(row["step"], row["eval_loss"], train_loss, recorded=True))

    def _evaluate_kept(self) -> None:
        """Evaluate kept weights anew: what other evaluations of them hold is taken, the rest is the model's."""
        evaluation = self.trial.evaluation
        examples = self._evaluation_examples(evaluation)
        if rescore.rescore(self.record, evaluation, examples) is not None:
            return
        stored = stored_lines(self.record, evaluation, examples)
        with self._opened() as handle:
            self.handle = handle
            if not self.config.is_baseline:
                self._check_adapter()
                handle.load(self.record.adapter_folder)
            self._evaluate(handle, stored)

    def _check_adapter(self) -> None:
        found = adapter_faults(self.record)
        if found:
            raise atomic_files.DamagedFile(told(found))

    # --- the parts -----------------------------------------------------------------------------------------------

    def _train_spec(self, handle: TrialHandle) -> TrainSpec:
        rows = [row for row in self._train_rows() if row.fits]
        if not rows:
            raise ValueError("no training example fits")
        return TrainSpec(
            train=self.config,
            record=self.record,
            rows=rows,
            pad_id=self.tokenized.encoder(self.config).pad_id,
            tensors=handle.tensors,
            # Between steps nothing is lost by leaving: the step after which these run is done again.
            evaluate=lambda: self.curve.loss(handle.reader(self.control), "generate" in self.progress.owes),
            generate=lambda: self.curve.texts(handle.reader(self.control)),
            report=self.report,
            control=self.control,
        )

    def _train_rows(self) -> list[TokenRow]:
        return self.tokenized.train_rows(self.config)

    def _evaluate(self, handle: TrialHandle, stored: Lines | None = None) -> None:
        """Evaluate the weights that the handle has; `stored` are lines of theirs."""
        began = time.monotonic()
        evaluation = self.trial.evaluation
        known = stored or {split: {} for split in evaluation.examples}
        examples = self._evaluation_examples(evaluation)
        missing = {split: [one for one in every if one.id not in known[split]] for split, every in examples.items()}
        rows = {
            split: [
                row
                for row in self.tokenized.evaluation_rows(self.config, split, count, evaluation.max_new_tokens)
                if row.example_id not in known[split]
            ]
            for split, count in evaluation.examples.items()
        }
        reader = handle.reader(self.control)
        found = predictions(reader, rows, missing, evaluation, self.curve.known, self.curve.written)
        for split, lines in evaluate_library.scored(evaluation.metrics, found, missing).items():
            known[split] |= {line["id"]: line for line in lines}
        whole = {split: [known[split][one.id] for one in every] for split, every in examples.items()}
        rescore.write(self.record, evaluation, whole, time.monotonic() - began)

    def _evaluation_examples(self, evaluation: EvalConfig) -> dict[str, Any]:
        return {split: self.tokenized.evaluation_examples(split, count) for split, count in evaluation.examples.items()}

    def _measured(self, handle: TrialHandle, weights: _Weights) -> TrialResult:
        """Evaluate the weights that were trained, or the base, and return the whole result."""
        began = handle.seconds()
        progress = self.progress
        if not self.config.is_baseline:
            last = self.record.metrics()[-1:] or [{}]
            self.report(TrialReport(progress.step, last[0].get("eval_loss"), phase="evaluate"))
        rows = self._train_rows()
        fitting = [row for row in rows if row.fits]
        evaluation = self.trial.evaluation
        count = min(TRAIN_LOSS_EXAMPLES, evaluation.on_curve or evaluation.test_examples)
        train_loss = mean_loss(handle.reader(self.control).losses(fitting[:count]))
        if self.record.needs_evaluation(self.trial.eval_id):
            self._evaluate(handle)
        self.evaluate_s = handle.seconds() - began
        sources_cut = sum(row.source_tokens_cut > 0 for row in fitting)
        fit = _Fit(train_loss, len(fitting), len(rows) - len(fitting), sources_cut, self.trial.eval_id)
        return self._result(TrialState.STOPPED if progress.stopped else TrialState.DONE, weights=weights, fit=fit)

    def _result(
        self, state: TrialState, cause: str | None = None, weights: _Weights = _Weights(), fit: _Fit = _Fit()
    ) -> TrialResult:
        progress = self.progress
        share = self.handle.facts() if self.handle is not None else EngineShare()
        return TrialResult(
            state=state,
            cause=cause,
            engine=self.engine.name,
            device=self.device,
            precision=self.config.precision,
            steps=progress.step,
            skipped_steps=progress.skipped_steps,
            kept_step=weights.kept_step,
            trainable_parameters=weights.trainable_parameters,
            total_parameters=weights.total_parameters,
            adapter_bytes=weights.adapter_bytes,
            adapter_sha256=weights.adapter_sha256,
            train_loss=fit.train_loss,
            train_examples_used=fit.examples_used,
            train_examples_dropped=fit.examples_dropped,
            train_sources_cut=fit.sources_cut,
            tokens_trained=progress.tokens,
            train_s=round(progress.train_s, 3),
            evaluate_s=round(self.evaluate_s, 3),
            wall_s=round(time.monotonic() - self.began, 3),
            seconds_per_step=progress.steps_s / progress.step if progress.step else None,
            peak_memory_bytes=peak_memory_bytes(self.device),
            device_share=share.device_share,
            packmates=share.packmates,
            pack_width=share.pack_width,
            narrowed_to=share.narrowed_to,
            restarts=progress.restarts,
            first_eval_id=fit.first_eval_id,
            started_at=progress.started_at,
            ended_at=_now(),
        )

    def fail(self, state: TrialState, error: BaseException) -> TrialResult:
        """Commit a failure: its cause in one line, the traceback in error.txt."""
        cause = f"{type(error).__name__}: {error}".splitlines()[0]
        if isinstance(error, Diverged):
            cause = str(error)
        self.record.write_error(cause, "".join(traceback.format_exception(error)))
        kept = self.record.result()
        if kept is not None and kept.is_trained:
            # Only a further evaluation has failed: the training and the evaluations that there are stay as they are.
            return kept.model_copy(update={"state": state, "cause": cause})
        result = self._result(state, cause)
        self.record.write_result(result)
        return result

    def _check_interrupt(self) -> None:
        if self.control() == "interrupt":
            raise Interrupted("interrupted before the start")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
