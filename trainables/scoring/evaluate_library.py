"""Scores by any metric of the `evaluate` library, offline: by name from its cache, or by the path of its script.

An entry of an evaluation's metrics such as `evaluate:/path/to/metric#f1/100?lang=en` names where the metric is, which
of its numbers is the score (none: its only one), what that is divided by to lie within 0 and 1, and options of it.
`evaluate` imports torch, so it runs in a process of its own, started by the first metric, which ends with its parent.
`evaluate:bertscore#f1?model=FOLDER` needs no script: it is `trainables.scoring.bertscore`, by a model on disk.
"""

from __future__ import annotations

import json
import math
import numbers
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from trainables import secret_variables
from trainables.config import External, external_of
from trainables.data.corpus import Example
from trainables.errors import UserError
from trainables.scoring import bertscore

PredictionLines = Sequence[dict[str, Any]]
ROOT = Path(__file__).resolve().parents[2]
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}


def scored(
    metrics: Iterable[str], predictions: Mapping[str, PredictionLines], examples: Mapping[str, Sequence[Example]]
) -> dict[str, PredictionLines]:
    """Return predictions by split with the scores of the `evaluate` metrics among `metrics` added; an empty text has 0.

    Raises:
        UserError: a metric cannot be loaded, fails, or gives no number from 0 to 1.
    """
    found = dict(predictions)
    for metric in externals(metrics):
        for split, rows in found.items():
            references = {example.id: example.references for example in examples[split]}
            written = [row for row in rows if row["text"]]
            values = _ask(metric, [(str(row["text"]), references[row["id"]]) for row in written])
            known = {row["id"]: value for row, value in zip(written, values, strict=True)}
            found[split] = [
                {**row, "scores": {**row["scores"], metric.score_name: known.get(row["id"], 0.0)}} for row in rows
            ]
    return found


def check(metrics: Iterable[str]) -> None:
    """Score one text by every `evaluate` metric; raises UserError where that cannot be done."""
    for metric in externals(metrics):
        _ask(metric, [("the meeting is moved to Friday", ("the meeting is on Friday",))])


def externals(metrics: Iterable[str]) -> list[External]:
    """Return those of `metrics` that the `evaluate` library computes."""
    return [one for metric in metrics if (one := external_of(metric))]


def entry_of(text: str) -> str | None:
    """Return the metrics entry that a command line means: `evaluate:...`, or a metric's path; None for other names."""
    if text.split("#")[0].split("?")[0] == bertscore.NAME:
        raise UserError(f"metric {text!r} needs a model: {bertscore.HOW}")
    if not text.startswith("evaluate:"):
        text = f"evaluate:{text}" if os.sep in text else text
    one = external_of(text)
    if one is None:
        return None
    if one.location == bertscore.NAME:
        model = str(one.options.get("model", ""))
        known = Path(model).expanduser()
        return text.replace(f"model={model}", f"model={known.resolve()}", 1) if model and known.exists() else text
    where = Path(one.location).expanduser()
    return text.replace(one.location, str(where.resolve()), 1) if where.exists() else text


def _ask(metric: External, pairs: Sequence[tuple[str, Sequence[str]]]) -> list[float]:
    """Return the score of each (text, references)."""
    if not pairs:
        return []
    answer = _ask_worker(metric, pairs)
    if problem := answer.get("problem"):
        raise UserError(
            secret_variables.without_passed(f"metric {metric.entry!r} {problem}{_withheld(metric, problem)}")
        )
    values = [value / metric.divisor for value in answer["values"]]
    wrong = next((value for value in values if not -1e-9 <= value <= 1 + 1e-9), None)
    if wrong is not None:
        raise UserError(
            f"metric {metric.entry!r} must give numbers from 0 to 1, higher for better, got {wrong:g}; where its "
            f"scale is 0 to 100, write evaluate:{metric.location}#{metric.key or 'KEY'}/100"
        )
    return [min(max(value, 0.0), 1.0) for value in values]


def _withheld(metric: External, problem: str) -> str:
    """Say what a script may have missed in its environment, where it failed by itself."""
    failed = problem.startswith(("failed", "cannot be loaded", "ended its process"))
    return secret_variables.how_to_pass(problem) if failed and metric.location != bertscore.NAME else ""


class _Worker:
    """A process that scores by any metric: a line of JSON in, a line of JSON out; it ends with its input."""

    def __init__(self) -> None:
        self.notes = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trainables.scoring.evaluate_library"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.notes,
            env={**os.environ, **OFFLINE, "PYTHONPATH": os.pathsep.join(paths)},
            text=True,
        )

    def ask(self, question: list[Any]) -> dict[str, Any]:
        """Return the answer, or what is known of the end of the process."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if line:
            return dict(json.loads(line))
        self.process.wait()
        self.notes.seek(0)
        last = (self.notes.read().strip().splitlines() or ["it said nothing"])[-1]
        return {"problem": f"ended its process (exit code {self.process.returncode}): {last}"}


@cache
def _worker() -> _Worker:
    return _Worker()


def _ask_worker(metric: External, pairs: Sequence[tuple[str, Sequence[str]]]) -> dict[str, Any]:
    if _worker().process.poll() is not None:
        _worker.cache_clear()
    return _worker().ask([metric.entry, [[text, list(references)] for text, references in pairs]])


# --- the process of a metric -----------------------------------------------------------------------------------------


def main() -> None:
    """Answer lines of [entry, [[text, references], ...]] with the scores by the metric that the entry names."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a metric prints is no answer
    for line in sys.stdin:
        entry, pairs = json.loads(line)
        metric = external_of(entry)
        assert metric is not None
        try:
            if metric.location == bertscore.NAME:
                values = bertscore.scores(metric.key, metric.options, pairs)
            else:
                loaded = _load(metric.location)
                values = [_value(metric, loaded, *pair) for pair in pairs]
            answer: dict[str, Any] = {"values": values}
        except UserError as error:
            answer = {"problem": str(error)}
        except Exception as error:  # whatever a metric's own code raises
            answer = {"problem": f"failed: {type(error).__name__}: {_line(error)}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


@cache
def _load(location: str) -> Any:
    import evaluate

    try:
        return evaluate.load(location)
    except Exception as error:  # a script of the metric's author runs here
        place = "" if Path(location).exists() else "; offline a metric must be in the cache, or give its path"
        raise UserError(f"cannot be loaded: {_line(error).rstrip('.')}{place}") from None


def _value(metric: External, loaded: Any, text: str, references: list[str]) -> float:
    """Return the score of one text: on all references where the metric takes several, else the best of each."""
    features = loaded.features[0] if isinstance(loaded.features, list) else loaded.features
    feature = features.get("references")
    takes_several = feature is not None and type(feature).__name__ != "Value"
    sides: list[Any] = [references] if takes_several else references
    results = (loaded.compute(predictions=[text], references=[side], **metric.options) for side in sides)
    return max(_number(metric, result) for result in results)


def _number(metric: External, result: Mapping[str, Any] | None) -> float:
    known = {}
    for key, value in (result or {}).items():
        one = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
        if isinstance(one, numbers.Real) and not isinstance(one, bool) and math.isfinite(one):
            known[key] = float(one)
    key = metric.key or (next(iter(known)) if len(known) == 1 else metric.name)
    if key not in known:
        listed = ", ".join(known) or "none"
        raise UserError(f"has no number {key!r} (its numbers: {listed}); name one: evaluate:{metric.location}#KEY")
    return known[key]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


if __name__ == "__main__":
    main()
