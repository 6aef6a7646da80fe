"""Curves and HParams of every trial for TensorBoard, written from the records as they grow (tensorboard alone).

The event files are derived: on every start a trial's file is written anew from its `metrics.jsonl`, then appended to.
They are written record by record, since TensorBoard's own EventFileWriter imports tensorflow wherever that is installed
and keeps one thread per trial. tensorboardX does that too, imports torch, and names HParams' folder by the clock.
"""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweep.monitor.jsonl_tail import JournalTail
from trainables.records.atomic_files import DamagedFile
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.lineage import sentence
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult
from trainables.visible_text import visible_line

EVERY_S = 2.0
NOT_CURVES = {"kind", "step", "time_s", "tokens", "examples"}
NOT_KNOBS = {"prompt_template", "tokenization"}


class TensorBoardWriter:
    """Writes the event files of trials from a thread, until it is closed; `trials` returns their folders so far."""

    def __init__(self, folder: SweepFolder, trials: Callable[[], list[Path]]) -> None:
        self._folder = folder
        self._trials = trials
        self._files: dict[Path, TrialEvents] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, name="tensorboard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Write what is still missing and end."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()
        for events in self._files.values():
            events.close()

    def _write(self) -> None:
        while True:
            last = self._ended.wait(EVERY_S)
            for path in self._trials():
                if path not in self._files:
                    self._files[path] = TrialEvents(TrialRecord(path), self._folder.tensorboard_folder / path.name)
                self._files[path].update()
            if last:
                return


class TrialEvents:
    """The event file of one trial."""

    def __init__(self, record: TrialRecord, folder: Path) -> None:
        self.record = record
        self.folder = folder
        self._tail = JournalTail(record.metrics_path)
        self._file: Any | None = None
        self._has_end = False
        self._changes = 0  # written so far
        self._time_s = 0.0

    def update(self) -> None:
        """Append what the record has gained; a record that was cut back is written anew."""
        rows, replaced = self._tail.read()
        if replaced or self._file is None:
            self._begin()
        for row in rows:
            self._add_row(row)
        self._add_changes()
        if not self._has_end:
            self._add_end()
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.hparams import summary_v2

        self.close()
        try:
            config = self.record.config()
        except (FileNotFoundError, DamagedFile):
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        began = self.record.config_path.stat().st_mtime
        self._time_s, self._has_end, self._changes = began, False, 0
        path = self.folder / f"events.out.tfevents.{int(began):010d}.{self.folder.name}"
        self._file = path.open("wb")
        self._write(Event(wall_time=began, file_version="brain.Event:2"))
        start = summary_v2.hparams_pb(knobs(config), trial_id=self.folder.name, start_time_secs=began)
        self._write(Event(wall_time=began, summary=start))

    def _add_row(self, row: dict[str, Any]) -> None:
        # Times come from the record where it has them, so that a file written anew is the same file.
        time_s = row.get("time_s")
        wall = self._time_s + time_s if isinstance(time_s, int | float) else self._time_s
        for name, value in row.items():
            if name not in NOT_CURVES and isinstance(value, int | float) and not isinstance(value, bool):
                self._add_scalar(tag_of(row["kind"], name), float(value), int(row["step"]), wall)

    def _add_changes(self) -> None:
        """Write what population-based training changed, as a text at the step from which it holds."""
        if self._file is None or not self.record.lineage_path.exists():
            return
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        from analysis.render.markdown import escaped  # texts are rendered as Markdown

        lines = self.record.lineage()
        for line in lines[self._changes :]:
            kind = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
            text = TensorProto(dtype=DT_STRING, string_val=[escaped(sentence(line)).encode()])
            value = Summary.Value(tag="pbt/change", metadata=kind, tensor=text)
            self._write(Event(wall_time=self._time_s, step=line["donor_step"], summary=Summary(value=[value])))
        self._changes = max(self._changes, len(lines))

    def _add_end(self) -> None:
        result = self.record.result()
        if result is None or self._file is None:
            return
        identities = self.record.evaluation_ids()
        if result.is_trained and not identities:
            return  # still being evaluated
        summary = self.record.summary(result.first_eval_id or identities[0]) if identities else None
        wall = self.record.result_path.stat().st_mtime
        for name, value in final_metrics(result, summary).items():
            self._add_scalar(name, value, result.steps or 0, wall)
        self._add_session_end(result.is_trained, wall)
        self._has_end = True

    def _add_session_end(self, good: bool, wall: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        status = api_pb2.STATUS_SUCCESS if good else api_pb2.STATUS_FAILURE
        content = plugin_data_pb2.HParamsPluginData(
            session_end_info=plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=wall),
            version=metadata.PLUGIN_DATA_VERSION,
        )
        plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString())
        value = Summary.Value(
            tag=metadata.SESSION_END_INFO_TAG, metadata=SummaryMetadata(plugin_data=plugin), tensor=metadata.NULL_TENSOR
        )
        self._write(Event(wall_time=wall, summary=Summary(value=[value])))

    def _add_scalar(self, tag: str, value: float, step: int, wall: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        if math.isfinite(value):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            self._write(Event(wall_time=wall, step=step, summary=summary))

    def _write(self, event: Any) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        if self._file is not None:
            RecordWriter(self._file).write(event.SerializeToString())


def tag_of(kind: str, name: str) -> str:
    """Return the tag of a curve: the loss of training and of evaluation beside each other, scores by themselves."""
    if name in ("train_loss", "eval_loss"):
        return f"loss/{'train' if name == 'train_loss' else 'validation'}"
    return f"generate/{name}" if kind == "generate" else f"{kind}/{name}"


def knobs(config: dict[str, Any]) -> dict[str, Any]:
    """Return every knob of a trial, each of one type over all trials: a number, a truth value or a text, never None."""
    values: dict[str, Any] = {"name": visible_line(config["name"])}
    for key, value in config["train"].items():
        if key in NOT_KNOBS:
            continue
        if isinstance(value, bool | str):
            values[key] = visible_line(value) if isinstance(value, str) else value
        elif isinstance(value, int | float):
            values[key] = float(value)
        else:
            values[key] = visible_line(" ".join(str(part) for part in value or ()))
    return values


def final_metrics(result: TrialResult, summary: EvaluationSummary | None) -> dict[str, float]:
    """Return the numbers by which trials are compared in the HParams tab, as `final/<split>/<score>`."""
    found: dict[str, float] = {}
    for split, means in (summary.splits if summary else {}).items():
        for name, value in means.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[f"final/{split}/{name}"] = float(value)
    of_training = {
        "train_loss": result.train_loss,
        "train_s": result.train_s,
        "seconds_per_step": result.seconds_per_step,
        "peak_memory_bytes": result.peak_memory_bytes,
    }
    return found | {f"final/{name}": float(value) for name, value in of_training.items() if value is not None}
