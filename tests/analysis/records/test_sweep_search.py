"""The table of a search: which rows are its points, its axes as columns, what cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from searches_on_disk import drawn, space, trials_of, write_search
from sweeps_on_disk import SMALL, configuration, write_sweep

from analysis.records.load import load
from search_spaces.points import parameters_of
from trainables.errors import UserError
from trainables.records.record import SweepFolder


def test_points_have_their_parameters_and_other_rows_none(tmp_path: Path) -> None:
    one = space(trials=3)
    outside = configuration("Z", rate=0.4)  # above the range
    table = load(write_search(tmp_path, one, trials_of(drawn(one, 3))))
    assert table.search
    assert table.search.space == one
    assert (table.search.sampler, table.search.infeasible) == ("tpe", ())
    for row in table.of_kind("configuration"):
        assert row.train
        assert row.parameters == parameters_of(one, row.train)
    assert [row.parameters for row in table.of_kind("baseline")] == [None] * len(table.of_kind("baseline"))
    assert parameters_of(one, outside.train) is None


def test_a_replicate_is_the_same_point(tmp_path: Path) -> None:
    one = space(trials=2)
    points = drawn(one, 2)
    again = points[0].model_copy(update={"seed": 43})
    rows = load(write_search(tmp_path, one, trials_of(points))).of_kind("configuration")
    assert rows[0].train
    from analysis.records.load import _as_point

    table = load(tmp_path)
    assert table.search
    replicate = _as_point(rows[0].__class__("A", "A-s43", "configuration", "done", None, again), table.search)
    assert replicate.parameters == rows[0].parameters


def test_every_axis_of_the_search_is_a_column_also_where_nothing_varies_yet(tmp_path: Path) -> None:
    one = space(trials=1)
    table = load(write_search(tmp_path, one, trials_of(drawn(one, 1))))
    assert table.axes == ("prompt", "lora_rank", "learning_rate", "lora_alpha", "lora_dropout")
    assert [column.title for column in table.columns()[2:7]] == ["prompt", "rank", "rate", "alpha", "dropout"]


def test_a_sweep_without_a_search_has_none(tmp_path: Path) -> None:
    table = load(write_sweep(tmp_path, [configuration("A")], SMALL))
    assert table.search is None
    assert [row.parameters for row in table.rows] == [None]


def test_a_search_of_a_kind_that_is_not_known_is_named(tmp_path: Path) -> None:
    folder = SweepFolder(write_search(tmp_path, space(trials=1)))
    manifest = folder.manifest()
    assert manifest.search
    folder.write_manifest(manifest.model_copy(update={"search": {**manifest.search, "axes": [{"kind": "Spiral"}]}}))
    with pytest.raises(UserError, match="has a search that this version cannot read"):
        load(tmp_path)
