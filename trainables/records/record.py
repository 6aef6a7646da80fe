"""What a sweep and its trials leave on disk: one owner for every path, atomic writes, checksums (no torch).

A trial is finished if and only if its `result.json` is there and whole; an evaluation of it is finished if and only if
its `summary.json` is there and whole and the predictions that it lists have their checksums. Reading changes nothing:
what is damaged counts as absent (`damage` says what it is) until it is written anew, and is then set aside.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainables.config import EvalConfig, TrainConfig, TrialConfig, eval_id, generation_id
from trainables.errors import UserError
from trainables.records import (
    atomic_files,
    evaluation_summary,
    journal,
    manifest,
    planned_trials,
    trial_result,
    typed_document,
)
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.manifest import SCHEMA_VERSION, SweepManifest
from trainables.records.trial_result import TrialResult
from trainables.visible_text import visible

Fence = Callable[[], None]
"""Called before each commit; raises where this writer's lease has been taken over."""


def no_fence() -> None:
    """The fence of a writer that needs no lease (tests, tools on a folder of their own)."""


@dataclass(frozen=True)
class TrialRecord:
    """The folder of one trial: every path in it, read and written here alone."""

    folder: Path
    fence: Fence = no_fence

    @property
    def config_path(self) -> Path:
        return self.folder / "config.json"

    @property
    def metrics_path(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def adapter_folder(self) -> Path:
        return self.folder / "adapter"

    @property
    def weights_path(self) -> Path:
        return self.adapter_folder / "adapter_model.safetensors"

    @property
    def checkpoint_folder(self) -> Path:
        """Holds `step-00016/` folders, written whole under a temporary name and then renamed."""
        return self.folder / "checkpoint"

    def checkpoint_path(self, step: int) -> Path:
        return self.checkpoint_folder / f"step-{step:05d}"

    @property
    def lineage_path(self) -> Path:
        """Holds a line per change of the configuration in mid-training, see `trainables.records.lineage`."""
        return self.folder / "lineage.jsonl"

    @property
    def result_path(self) -> Path:
        return self.folder / "result.json"

    @property
    def error_path(self) -> Path:
        return self.folder / "error.txt"

    def evaluation_folder(self, identity: str) -> Path:
        return self.folder / "evals" / identity

    def predictions_path(self, identity: str, split: str) -> Path:
        return self.evaluation_folder(identity) / f"predictions-{split}.jsonl"

    def summary_path(self, identity: str) -> Path:
        return self.evaluation_folder(identity) / "summary.json"

    # --- configuration -------------------------------------------------------------------------------------------

    def write_config(self, trial: TrialConfig, index: int, name: str, label: str) -> None:
        self.keep_config(config_content(trial, index, name, label))

    def keep_config(self, content: dict[str, Any]) -> None:
        """Write `config.json` with what `config_content` gives; a damaged one is set aside."""
        self.fence()
        atomic_files.replace_json(self.config_path, {"schema": SCHEMA_VERSION, **content})

    def config(self) -> dict[str, Any]:
        """Return index, name, label, kind, train_id and train, from the sweep's plan where the file is damaged.

        A trial of before 2026-11-30 does not say how it was tokenized: in parts. Raises DamagedFile or
        FileNotFoundError where the plan does not say.
        """
        try:
            content = atomic_files.read_json(self.config_path)
        except (FileNotFoundError, atomic_files.DamagedFile):
            known = planned_trials.config_of(self.folder)
            if known is None:
                raise
            content = known
        train = content["train"]
        return {**content, "train": {**train, "tokenization": train.get("tokenization", "parts")}}

    def train_config(self) -> TrainConfig:
        return TrainConfig.model_validate(self.config()["train"])

    def lineage(self) -> list[dict[str, Any]]:
        """Return number, step, donor, donor_step, old, new and time per change, none for most trials."""
        return journal.read(self.lineage_path).rows

    # --- curves --------------------------------------------------------------------------------------------------

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append one line: {"kind": "train"|"eval"|"generate", "step": ..., ...}."""
        self.fence()
        journal.append(self.metrics_path, row)

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl up to the first damaged one."""
        return journal.read(self.metrics_path).rows

    def cut_metrics_after(self, step: int) -> None:
        """Drop the lines of metrics.jsonl after `step`, which a continued trial writes again."""
        self.write_metrics([row for row in self.metrics() if row["step"] <= step])

    def write_metrics(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replace the lines of metrics.jsonl."""
        self.fence()
        journal.write(self.metrics_path, rows)

    # --- result --------------------------------------------------------------------------------------------------

    def write_result(self, result: TrialResult) -> None:
        """Commit the end of the training, by which curves and adapter are known again."""
        self.fence()
        for path in self.journals:
            # Else a power cut could leave a result that vouches for more lines than there are.
            atomic_files.sync_file(path)
        known: dict[str, Any] = {
            "journals": {path.name: atomic_files.sha256_of(path) for path in self.journals if path.exists()}
        }
        if result.adapter_sha256 and result.adapter_files is None:
            known["adapter_files"] = {
                path.name: atomic_files.sha256_of(path)
                for path in sorted(self.adapter_folder.glob("*"))
                if path.is_file() and path != self.weights_path
            }
        trial_result.write(self.result_path, result.model_copy(update=known))

    @property
    def journals(self) -> tuple[Path, Path]:
        """Files that are appended to while the trial runs."""
        return self.metrics_path, self.lineage_path

    def result(self) -> TrialResult | None:
        """Return the result, None where the trial is not finished."""
        return typed_document.read_if_whole(self.result_path, TrialResult)

    def set_adapter_aside(self) -> None:
        """Keep a damaged adapter, its evaluations and its result as `*.damaged`, so that the trial runs again."""
        # The result goes last: until then the trial is still found to be without a whole adapter.
        for path in (self.folder / "evals", self.adapter_folder, self.result_path):
            self.fence()
            if path.exists():
                atomic_files.set_aside(path)

    def write_error(self, cause: str, traceback: str) -> None:
        self.fence()
        atomic_files.write_text(self.error_path, visible(f"{cause}\n\n{traceback}"))

    # --- evaluations ---------------------------------------------------------------------------------------------

    def write_evaluation(
        self, evaluation: EvalConfig, predictions: dict[str, Sequence[dict[str, Any]]], summary: EvaluationSummary
    ) -> None:
        """Commit an evaluation: predictions per split first, the summary with their checksums last."""
        identity = eval_id(evaluation)
        self.fence()
        if self.summary_path(identity).exists() and self.needs_evaluation(identity):
            atomic_files.set_aside(self.evaluation_folder(identity))
        checksums = {}
        for split, rows in predictions.items():
            self.fence()
            path = self.predictions_path(identity, split)
            atomic_files.write_lines(path, rows)
            checksums[path.name] = atomic_files.sha256_of(path)
        self.fence()
        known = {
            "schema_version": evaluation_summary.SCHEMA_VERSION,
            "eval_id": identity,
            "generation_id": generation_id(evaluation),
            "evaluation": evaluation.model_dump(mode="json"),
            "checksums": checksums,
        }
        evaluation_summary.write(self.summary_path(identity), summary.model_copy(update=known))

    def summary(self, identity: str) -> EvaluationSummary | None:
        """Return the summary of a whole evaluation, None where there is none."""
        summary = typed_document.read_if_whole(self.summary_path(identity), EvaluationSummary)
        for name, checksum in (summary.checksums if summary else {}).items():
            path = self.evaluation_folder(identity) / name
            if not path.exists() or atomic_files.sha256_of(path) != checksum:
                return None
        return summary

    def predictions(self, identity: str, split: str) -> list[dict[str, Any]]:
        return atomic_files.read_lines(self.predictions_path(identity, split))

    def evaluation_ids(self) -> list[str]:
        """Identities of the whole evaluations of this trial, sorted."""
        names = sorted(path.parent.name for path in (self.folder / "evals").glob("*/summary.json"))
        return [name for name in names if not name.endswith(".damaged") and self.summary(name) is not None]

    def needs_evaluation(self, identity: str) -> bool:
        return self.summary(identity) is None


def config_content(trial: TrialConfig, index: int, name: str, label: str) -> dict[str, Any]:
    """Return what a trial's `config.json` says."""
    return {
        "index": index,
        "name": name,
        "label": label,
        "kind": "baseline" if trial.train.is_baseline else "configuration",
        "train_id": trial.train_id,
        "train": trial.train.model_dump(mode="json"),
    }


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep: its own files, and the records of its trials."""

    folder: Path
    fence: Fence = no_fence

    @property
    def sweep_path(self) -> Path:
        return self.folder / "sweep.json"

    @property
    def trials_folder(self) -> Path:
        return self.folder / "trials"

    @property
    def tensorboard_folder(self) -> Path:
        return self.folder / "tensorboard"

    @property
    def report_folder(self) -> Path:
        return self.folder / "report"

    @property
    def lease_path(self) -> Path:
        return self.folder / "lease.json"

    @property
    def launches_path(self) -> Path:
        """Of a line per launch: its engine, its stages in seconds, how full its packs were."""
        return self.folder / "launches.jsonl"

    @property
    def study_path(self) -> Path:
        """The study of a search as optuna-dashboard reads it: a view of the records, made anew where it is absent."""
        return self.folder / "optuna.db"

    @property
    def infeasible_path(self) -> Path:
        """Of a line per point of a search that was predicted not to fit: its parameters and why."""
        return self.folder / "infeasible.jsonl"

    @property
    def engine_error_path(self) -> Path:
        """Why no engine could start, in the last command that none could; a refused new sweep leaves it alone."""
        return self.folder / "engine-error.txt"

    def train_examples_path(self, data_seed: int) -> Path:
        """Training examples in the order of their nested subsets: a trial takes the first `train_examples`."""
        return self.folder / "data" / f"train-seed{data_seed}.jsonl"

    def evaluation_examples_path(self, split: str) -> Path:
        """Evaluation examples of a split, in order: an evaluation takes the first n."""
        return self.folder / "data" / f"{split}.jsonl"

    def write_manifest(self, content: SweepManifest) -> None:
        self.fence()
        manifest.write(self.sweep_path, content)

    def manifest(self) -> SweepManifest:
        """Return what sweep.json says; raises FileNotFoundError or DamagedFile."""
        return typed_document.read(self.sweep_path, SweepManifest)

    def records(self) -> list[TrialRecord]:
        """Records of all requested trials by index; folders without a configuration or a result are left out.

        A configuration that was set aside as damaged counts: its trial is still there.
        """
        named = {*self.trials_folder.glob("*/config.json*"), *self.trials_folder.glob("*/result.json")}
        found = [TrialRecord(path, self.fence) for path in sorted({path.parent for path in named})]
        known = [record for record in found if re.match(r"\d+-.*-", record.folder.name)]
        return sorted(known, key=lambda record: int(record.folder.name.split("-")[0]))

    def by_identity(self) -> dict[str, TrialRecord]:
        """Records by train_id, which is the end of a folder's name."""
        return {record.folder.name.rsplit("-", 1)[1]: record for record in self.records()}

    def damaged_examples(self) -> list[Path]:
        """Return the files of examples that are not what sweep.json says of them; an absent one is not damaged."""
        named = [(self.folder / "data" / name, checksum) for name, checksum in self.manifest().files.items()]
        return [path for path, checksum in named if path.exists() and atomic_files.sha256_of(path) != checksum]

    def check_examples(self) -> None:
        """Raise UserError naming a file of examples that is damaged."""
        for path in self.damaged_examples():
            raise UserError(
                f"{path} is damaged: its checksum is not the one in sweep.json; run the sweep again to write it anew"
            )

    def write_examples(self, path: Path, examples: Iterable[dict[str, Any]]) -> None:
        self.fence()
        atomic_files.write_lines(path, examples)
