"""A trial as rows of the tables of Optuna's RDBStorage, schema 12 (Optuna 5.0), in plain SQL.

`RDBStorage.create_new_trial` takes 30 to 100 ms for a trial, a transaction and a query for each of its parts; this
takes less than one. What is read back by Optuna itself is what the tests compare.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from search_spaces.objectives import Objective
from search_spaces.points import Search
from sweep.study.proposals import intermediate_values
from sweep.study.samplers import distribution_of, told_parameters
from sweep.study.study_trial import UNFINISHED, PointState, StudyTrial

if TYPE_CHECKING:
    import optuna

SCHEMA = 12
STUDY_ID = 1
OURS = (
    "record", "name", "train_id", "state", "rouge1", "rouge2", "rougeL", "trainable_parameters", "seconds", "cause",
    "sweep", "warm_start",
)  # fmt: skip
"""User attributes that are written here; others, as somebody may add in the dashboard, are left alone."""

CONSTRAINTS = "constraints"
"""Key of a list of constraints as Optuna kept them up to 4.9: it reads that still, and the dashboard only that."""

PARTS = ("trial_params", "trial_values", "trial_intermediate_values", "trial_system_attributes")

Distributions = Mapping[str, "optuna.distributions.BaseDistribution"]


def distributions_of(space: Search) -> Distributions:
    """Return the distribution of every axis by its name."""
    return {axis.name: distribution_of(axis) for axis in space.axes}


def write_trial(
    connection: sqlite3.Connection,
    number: int,
    trial: StudyTrial,
    space: Search,
    objectives: Sequence[Objective],
    distributions: Distributions,
) -> None:
    """Write all rows of a trial, in place of those that it has; its identity is its number."""
    identity = number + 1
    is_unfinished = trial.state in UNFINISHED
    state = "PRUNED" if trial.state is PointState.INFEASIBLE else str(trial.state)
    ended = None if is_unfinished else _utc(trial.ended_at or trial.started_at)
    row = (identity, number, STUDY_ID, state, _utc(trial.started_at), ended)
    connection.execute("INSERT OR REPLACE INTO trials VALUES (?, ?, ?, ?, ?, ?)", row)
    for table in PARTS:
        connection.execute(f"DELETE FROM {table} WHERE trial_id = ?", (identity,))
    _insert(
        connection,
        "trial_params (trial_id, param_name, param_value, distribution_json)",
        [(identity, *one) for one in _parameters(trial, space, distributions)],
    )
    values = () if trial.state is PointState.FAIL else trial.values
    _insert(
        connection,
        "trial_values (trial_id, objective, value, value_type)",
        [(identity, objective, value, "FINITE") for objective, value in enumerate(values)],
    )
    curve = intermediate_values(trial, objectives)
    _insert(
        connection,
        "trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type)",
        [(identity, step, *_stored(value)) for step, value in curve.items()],
    )
    if trial.state is PointState.INFEASIBLE:
        violated = (identity, CONSTRAINTS, json.dumps([1.0]))
        _insert(connection, "trial_system_attributes (trial_id, key, value_json)", [violated])
    _write_attributes(connection, identity, {"record": trial.key, **trial.attributes})


def _insert(connection: sqlite3.Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * (table.count(",") + 1))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def _parameters(trial: StudyTrial, space: Search, distributions: Distributions) -> Iterable[tuple[str, float, str]]:
    import optuna

    for name, value in told_parameters(space, trial.parameters).items():
        distribution = distributions[name]
        yield name, distribution.to_internal_repr(value), optuna.distributions.distribution_to_json(distribution)


def _write_attributes(connection: sqlite3.Connection, identity: int, attributes: Mapping[str, Any]) -> None:
    marks = ", ".join("?" * len(OURS))
    connection.execute(f"DELETE FROM trial_user_attributes WHERE trial_id = ? AND key IN ({marks})", (identity, *OURS))
    rows = [(identity, name, json.dumps(attributes[name])) for name in OURS if name in attributes]
    connection.executemany("INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (?, ?, ?)", rows)


def cut_after(connection: sqlite3.Connection, count: int) -> None:
    """Remove the trials from number `count` on, which no record stands for."""
    for table in (*PARTS, "trial_user_attributes", "trials"):
        connection.execute(f"DELETE FROM {table} WHERE trial_id > ?", (count,))


def _stored(value: float) -> tuple[float | None, str]:
    if math.isnan(value):
        return None, "NAN"
    if math.isinf(value):
        return None, "INF_POS" if value > 0 else "INF_NEG"
    return value, "FINITE"


def _utc(time: str | None) -> str | None:
    """Return a time of a record as Optuna stores it: UTC without saying so."""
    if time is None:
        return None
    return datetime.fromisoformat(time).astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
