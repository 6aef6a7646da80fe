"""Read the records of a sweep into one table: a row per baseline and configuration, whatever became of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from analysis.format.columns import MAIN_AXES
from analysis.records import older_trials, partial_rows, settled
from analysis.records.sweep_search import SweepSearch, search_of
from analysis.records.table import ResultRow, ResultTable
from search_spaces.points import parameters_of
from trainables.config import BASELINE_FIELDS, NOT_WEIGHTS, EvalConfig, TrainConfig
from trainables.errors import UserError, nearest
from trainables.records.atomic_files import DamagedFile
from trainables.records.damage import faults_of, hides_score, told
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_states import TrialState

if TYPE_CHECKING:
    import pandas as pd


NEEDED = ("experiment", "resolved", "evaluation", "eval_id")  # every sweep has had them


def default_eval_id(folder: Path) -> str:
    """Return the identity of the evaluation that the sweep was last asked for."""
    return read_sweep(folder).eval_id


def read_sweep(folder: Path) -> SweepManifest:
    """Return sweep.json; raises UserError where there is none or it is damaged."""
    try:
        found = SweepFolder(folder).manifest()
    except FileNotFoundError:
        raise UserError(f"{folder} is no sweep: it has no sweep.json") from None
    except DamagedFile as error:
        raise UserError(str(error)) from None
    if missing := [name for name in NEEDED if name not in found.model_fields_set]:
        raise UserError(f"{SweepFolder(folder).sweep_path} is damaged: {missing[0]} is missing")
    return found


def load(folder: Path, eval_id: str | None = None) -> ResultTable:
    """Read the records of a sweep under one evaluation: baselines first, then configurations by index.

    Raises:
        UserError: no sweep there, sweep.json is damaged, or no trial has that evaluation.
    """
    sweep = read_sweep(folder)
    identity = eval_id or sweep.eval_id
    records = SweepFolder(folder).records()
    evaluation = _evaluation(sweep, records, identity)
    trials = [_read(record, identity) for record in records]
    if sweep.settle and identity == sweep.eval_id:
        trials = [partial_rows.placed(row, evaluation) for row in trials]
    trials.sort(key=lambda row: row.kind != "baseline")  # stable: by index within each kind
    trials, count = older_trials.set_apart(trials, sweep.resolved)
    search = search_of(sweep.search, folder)
    if search is not None:
        trials = [_as_point(row, search) for row in trials]
    table = ResultTable(
        folder=folder,
        experiment=sweep.experiment,
        model=sweep.resolved.model.label,
        data=sweep.resolved.data.label,
        banner=sweep.banner,
        metric=sweep.metric,
        eval_id=identity,
        is_default=identity == sweep.eval_id,
        evaluation=evaluation,
        axes=_axes(trials, search.fields if search else ()),
        rows=tuple(trials),
        older=count,
        search=search,
        race=settled.race_of(sweep) if identity == sweep.eval_id else None,
    )
    for row in trials:
        row.values.update(_values(row, table))
    return table


def load_table(folder: Path, eval_id: str | None = None) -> pd.DataFrame:
    """Return the table as a data frame: a row per baseline and configuration, columns as declared."""
    return to_frame(load(folder, eval_id))


def to_frame(table: ResultTable) -> pd.DataFrame:
    """Return a table as a data frame, scores as fractions."""
    import pandas as pd  # half a second, which printing does not need

    names = [column.name for column in table.columns()]
    return pd.DataFrame([[row.values.get(name) for name in names] for row in table.rows], columns=names)


def _evaluation(sweep: SweepManifest, records: Iterable[TrialRecord], identity: str) -> EvalConfig:
    if identity == sweep.eval_id:
        return EvalConfig.model_validate(sweep.evaluation)
    known = {sweep.eval_id}
    for record in records:
        known.update(record.evaluation_ids())
        if identity in known and (summary := record.summary(identity)):
            return EvalConfig.model_validate(summary.evaluation)
    raise UserError(f"no trial has the evaluation {identity!r}; {nearest(identity, sorted(known))}")


def _read(record: TrialRecord, identity: str) -> ResultRow:
    found = faults_of(record, identity)
    damage, is_hidden = told(found), hides_score(record, found)
    try:
        config = record.config()
        train = TrainConfig.model_validate(config["train"])
    except (FileNotFoundError, DamagedFile, ValidationError) as error:
        # Still a row: the next run writes the configuration anew.
        label = record.folder.name.split("-", 1)[1].rsplit("-", 1)[0]
        is_baseline = label.startswith("zero-shot")
        name, kind = (label, "baseline") if is_baseline else (label.split("-")[0], "configuration")
        cause = damage or str(error).splitlines()[0]
        return ResultRow(
            name, label, kind, TrialState.PENDING, cause, record=record, damage=damage, is_hidden=is_hidden
        )
    result = record.result()
    summary = record.summary(identity) if result else None
    state: str = result.state if result else TrialState.PENDING
    why = damage if is_hidden else result.cause if result else None
    if not is_hidden and state == TrialState.DONE and summary is None:
        why = f"not evaluated yet under {identity}"
    values = {**(result.content() if result else {}), "train_id": config["train_id"], "changes": len(record.lineage())}
    named = ResultRow(config["name"], config["label"], config["kind"], state, why, train, values, record, summary)
    return replace(named, damage=damage, is_hidden=is_hidden)


def _as_point(row: ResultRow, search: SweepSearch) -> ResultRow:
    """Return a row with its parameters, where its configuration is a point of the search; replicates are one point."""
    if row.train is None or row.train.is_baseline:
        return row
    seed = search.space.base.seed if "seed" not in search.fields else row.train.seed
    return replace(row, parameters=parameters_of(search.space, row.train.model_copy(update={"seed": seed})))


def _axes(rows: Iterable[ResultRow], searched: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the fields that the configurations change, or a search may; prompt, rank and rate where there are none."""
    configurations = [row.train for row in rows if row.train and not row.train.is_baseline]
    hidden = NOT_WEIGHTS | {"prompt_template", "tokenization"}
    names = [
        name
        for name in TrainConfig.model_fields
        if name not in hidden and (name in searched or len({getattr(train, name) for train in configurations}) > 1)
    ]
    main = [name for name in MAIN_AXES if name in names or not names]
    return (*main, *(name for name in names if name not in main))


def _values(row: ResultRow, table: ResultTable) -> dict[str, Any]:
    """Return a row's values beside those of its result: what it changes, and its scores on the reported split."""
    values: dict[str, Any] = {"name": row.name, "label": row.label, "kind": row.kind, "state": row.state}
    values |= {"cause": row.cause, "model": table.model, "data": table.data, "eval_id": table.eval_id}
    values |= {"split": table.split, "signature": row.summary.signature if row.summary else None}
    if row.train:
        shown = BASELINE_FIELDS if row.train.is_baseline else table.axes
        values |= {name: getattr(row.train, name) for name in table.axes if name in shown}
    total, trainable = row.values.get("total_parameters"), row.values.get("trainable_parameters")
    values["trainable_share"] = trainable / total if total and trainable is not None else None
    if row.train and row.train.is_baseline:
        values["adapter_bytes"] = values["seconds_per_step"] = None
    summary = row.summary or row.partial
    splits = summary.splits if summary else {}
    values |= splits.get(table.split, {})
    values["choice_examples"] = splits.get(table.selection_split, {}).get("examples") if table.race else None
    if len(table.evaluation.examples) > 1:
        values |= {f"validation_{name}": value for name, value in splits.get("validation", {}).items()}
    return values
