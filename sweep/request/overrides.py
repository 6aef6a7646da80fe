"""What the command line changes of an experiment: axes, fields and evaluation, each checked as in a file (no torch)."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from search_spaces.experiment import Experiment, load_experiment
from search_spaces.grid import FIXED, Grid, size_of, with_axes
from sweep.cli_support.command import note
from sweep.cli_support.options import ExperimentOptions
from sweep.request.axes import Axes, parse_axes
from sweep.request.search_request import smoke_search, with_search
from trainables.config import DECODINGS, EvalConfig, TrainConfig, configured, digest
from trainables.errors import UserError, one_of
from trainables.metric_table import is_missing, metric_of

MANY = 2_000  # configurations, which take a second to judge
LONGEST_NAME = 100  # of a folder; file systems take 255 bytes, and a copy's or an archive's is longer


@dataclass(frozen=True)
class Changes:
    """Options of the command line that change what is trained or how it is judged; None leaves the experiment's own."""

    overrides: tuple[str, ...] = ()
    model: str | None = None
    data: str | None = None
    fields: str | None = None
    eval_examples: str | None = None
    decoding: str | None = None
    max_new_tokens: int | None = None
    metric: str | None = None
    keep: str | None = None
    keep_leaked: bool = False
    search: str | None = None
    trials: int | None = None
    objectives: str | None = None
    smoke: bool = False


def changes_of(asked: ExperimentOptions, smoke: bool) -> Changes:
    """Return what the options of a command line change of its experiment."""
    names = [one.name for one in fields(Changes) if one.name not in ("overrides", "smoke")]
    return Changes(tuple(asked.overrides or ()), **{name: getattr(asked, name) for name in names}, smoke=smoke)


@dataclass(frozen=True)
class Request:
    """An experiment as asked for, before its sources are known."""

    experiment: Experiment
    changed: frozenset[str]  # fields that the user set, which a stand-in then leaves alone
    own_sizes: bool  # the user said how many evaluation examples
    may_stand_in: frozenset[str]  # "model" and "data", where the experiment's own name is asked for
    folder_name: str  # of its sweep under runs/
    in_file: frozenset[str]  # fields that the experiment sets itself
    is_smoke: bool = False  # every stage in little


def request(name_or_path: str, changes: Changes) -> Request:
    """Load an experiment and apply the command line to it; raises UserError for anything wrong in either."""
    original = load_experiment(name_or_path)
    axes, ranges = parse_axes(changes.overrides)
    base = _base_fields(changes, axes)
    grid = Grid(configured(TrainConfig, {**original.grid.base.model_dump(), **base}), dict(original.grid.axes))
    for field in base:
        grid.axes.pop(field, None)
    experiment = replace(
        original,
        grid=with_axes(grid, axes),
        evaluation=changed_evaluation(original.evaluation, changes),
        metric=changes.metric or original.metric,
        keep_leaked=changes.keep_leaked or original.keep_leaked,
    )
    experiment = with_search(experiment, axes, ranges, changes.search, changes.trials, changes.objectives)
    if experiment.search is None and size_of(experiment.grid) > MANY:
        note(f"judging {size_of(experiment.grid):,} configurations", style="dim")
    experiment.configurations()  # judges every combination
    if changes.smoke:
        experiment = smoke(experiment)
    folder_name = _folder_name(original, experiment) + ("-smoke" if changes.smoke else "")
    own_sizes = changes.eval_examples is not None and not changes.smoke
    may_stand_in = _own_names(original, experiment) if original.stand_in else frozenset()
    in_file = frozenset({*original.grid.base.model_fields_set, *original.grid.axes})
    return Request(
        experiment, frozenset({*axes, *ranges, *base}), own_sizes, may_stand_in, folder_name, in_file, changes.smoke
    )


def _base_fields(changes: Changes, axes: Axes) -> dict[str, Any]:
    """Return the fields that are set for all configurations, taken out of `axes` where they came that way."""
    changed: dict[str, Any] = {}
    for name, value in (("model", changes.model), ("data", changes.data), ("keep_checkpoint", changes.keep)):
        if value is not None and name in axes:
            raise UserError(f"{name} is given twice, by an option and by {name}=; give it once")
        if value is not None:
            changed[name] = value
    for name in ("model", "data", "source_field", "target_field"):
        if len(axes.get(name, ())) == 1:
            changed[name] = axes.pop(name)[0]
    for part in (changes.fields or "").split(",") if changes.fields is not None else ():
        role, equals, field = part.strip().partition("=")
        if not equals or not field or role not in ("source", "target"):
            raise UserError(f"--fields must be like source=dialogue,target=summary, got {changes.fields!r}")
        changed[f"{role}_field"] = field
    if "prompt_template" in axes:
        raise UserError(f"prompt_template cannot be an axis: {FIXED['prompt_template']}")
    return changed


def changed_evaluation(evaluation: EvalConfig, changes: Changes) -> EvalConfig:
    """Return the evaluation with the command line's decoding, lengths, sizes and metrics."""
    values = evaluation.model_dump()
    if changes.decoding is not None:
        values["decoding"] = DECODINGS[one_of("--decoding", changes.decoding, DECODINGS)]
    if changes.max_new_tokens is not None:
        values["max_new_tokens"] = changes.max_new_tokens
    if changes.eval_examples is not None:
        match = re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", changes.eval_examples)
        if not match:
            raise UserError(f"--eval-examples must be VALIDATION,TEST, such as 64,128, got {changes.eval_examples!r}")
        values["validation_examples"], values["test_examples"] = map(int, match.groups())
    for name in filter(None, (changes.metric, *(changes.objectives or "").split(","))):
        if is_missing(name, values["metrics"]):
            values["metrics"] = (*values["metrics"], metric_of(name).family)
    return configured(EvalConfig, values)


def smoke(experiment: Experiment) -> Experiment:
    """Return every stage in little: 10 examples, 2 steps; the ends of a grid's first axis and the last value of others.

    Of a search two points.
    """
    little = {"train_examples": 10, "max_steps": 2, "eval_every_steps": 1, "warmup_steps": 0, "warmup_ratio": 0.0}
    evaluation = experiment.evaluation.model_copy(update={"validation_examples": 10, "test_examples": 10})
    if experiment.search is not None:
        return replace(experiment.with_search(smoke_search(experiment.search, little)), evaluation=evaluation)
    axes: Axes = {}
    for name, values in experiment.grid.axes.items():
        if name not in little:
            varied = any(len(kept) > 1 for kept in axes.values())
            axes[name] = values[-1:] if varied else tuple(dict.fromkeys((values[0], values[-1])))
    base = configured(TrainConfig, {**experiment.grid.base.model_dump(), **little})
    return replace(experiment, grid=Grid(base, axes), evaluation=evaluation)


def _folder_name(original: Experiment, changed: Experiment) -> str:
    if _own_names(original, changed) == {"model", "data"}:
        return safe_name(original.name)
    bases = (*_names(changed.grid, "model"), *_names(changed.grid, "data"))
    return safe_name("-".join(safe_name(Path(name).name) for name in (original.name, *bases)))


def _own_names(original: Experiment, changed: Experiment) -> frozenset[str]:
    """Return "model" and "data" where the request leaves them as the experiment has them."""
    return frozenset(name for name in ("model", "data") if _names(original.grid, name) == _names(changed.grid, name))


def _names(declared: Grid, field: str) -> tuple[str, ...]:
    """Return the models, or the data sets, of a grid."""
    return declared.axes.get(field, (getattr(declared.base, field),))


def safe_name(text: str) -> str:
    """Return `text` as one folder name; what is cut off a long one is told apart by its digest."""
    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip(".") or "sweep"
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 9]}-{digest(text)}"
