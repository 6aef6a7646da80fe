"""One unit for a score in every file: points, and nats for a loss."""

from __future__ import annotations

import csv
import io
import typing
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from sweeps_on_disk import baseline, configuration, grid

from analysis.comparison.comparison import compare
from analysis.findings.across_sweeps import across
from analysis.findings.findings import Findings
from analysis.render.csv_tables import tests_to_csv as csv_of
from analysis.render.json_report import across_document, report_of
from analysis.render.score_units import SCORES

Make = Callable[..., Path]
# What is no score: p, shares, sizes of an effect by its spread, and times.
NO_SCORES = {"p", "p_t", "p_holm", "p_max_t", "p_bh", "p_equivalent", "p_runs", "attainable", "wins", "ties", "losses"}
NO_SCORES |= {"d_z", "relative", "share", "wall_s", "time_s"}


def test_of_every_number_of_a_finding_it_is_known_whether_it_is_a_score() -> None:
    for kind, scores in SCORES.items():
        hints = typing.get_type_hints(kind)
        numbers = {one.name for one in fields(kind) if hints[one.name] in (float, float | None)}
        assert set(scores) <= numbers
        assert numbers - set(scores) <= NO_SCORES, kind


def test_json_has_scores_in_points_and_a_loss_in_nats(make_sweep: Make) -> None:
    found = compare(make_sweep())
    findings = Findings(found)
    document = report_of(findings).document()
    assert (document["unit"], document["schema"]) == ("points", 2)
    best, row = found.ranking[0], found.table.rows[0]
    assert document["best"]["selection"] == pytest.approx(100 * best.selection)
    assert document["ranking"][1]["selection"] == pytest.approx(100 * found.ranking[1].selection)
    assert document["rows"][0]["rougeL"] == pytest.approx(100 * row.values["rougeL"])
    assert document["rows"][0]["eval_loss"] == row.values["eval_loss"]
    told, test = document["findings"]["against_baselines"][0], findings.tests[0]
    assert [told[name] for name in ("score", "difference", "low", "margin")] == pytest.approx(
        [100 * test.score, 100 * test.difference, 100 * test.low, 1.0]
    )
    assert (told["p_holm"], told["relative"], told["verdict"]) == (test.p_holm, test.relative, test.verdict)
    difference = found.differences[0]
    assert document["differences"][0]["paired"]["mean"] == pytest.approx(100 * difference.paired.mean)
    winner = findings.winner
    assert winner is not None
    assert document["findings"]["winner"]["raw"] == pytest.approx(100 * winner.raw)
    assert document["findings"]["winner"]["frequencies"][0]["share"] == winner.frequencies[0].share
    assert document["findings"]["effects"][0]["effect"] == pytest.approx(100 * findings.effects[0].effect)
    assert document["findings"]["against_best"][0]["low"] == pytest.approx(100 * findings.against_best[0].low)


def test_where_a_loss_decides_differences_from_texts_are_in_points_all_the_same(make_sweep: Make) -> None:
    found = compare(make_sweep(), "eval_loss")
    document = report_of(Findings(found)).document()
    assert document["unit"] == "nats per token"
    assert document["best"]["selection"] == pytest.approx(found.ranking[0].selection)
    scales = {"eval_loss": 1, "rougeL": 100}
    assert {one.metric for one in found.differences} == set(scales)
    for told, one in zip(document["differences"], found.differences, strict=True):
        assert told["best"] == pytest.approx(scales[one.metric] * one.best)


def test_the_csv_of_tests_names_the_unit_of_each_line(make_sweep: Make) -> None:
    findings = Findings(compare(make_sweep()))
    rows = list(csv.DictReader(io.StringIO(csv_of(findings))))
    assert {row["metric"]: row["unit"] for row in rows}["eval_loss"] == "nats per token"
    for row, test in zip(rows, findings.every_test, strict=True):
        scale = 1 if test.metric == "eval_loss" else 100
        assert row["unit"] == ("nats per token" if scale == 1 else "points")
        for name in ("score", "difference", "high"):
            assert float(row[name]) == pytest.approx(scale * getattr(test, name))
        assert float(row["p_holm"]) == pytest.approx(test.p_holm)


def test_sweeps_side_by_side_have_their_scores_in_points(make_sweep: Make) -> None:
    folders = [make_sweep(grid()), make_sweep([baseline(), configuration("A", quality=0.9)])]
    found = across(folders)
    document = across_document(found)
    assert document["unit"] == "points"
    for told, entry in zip(document["entries"], found.entries, strict=True):
        assert told["selection"] == pytest.approx(100 * entry.selection)
        assert told["scores"]["eval_loss"] == entry.scores["eval_loss"]
        assert told["scores"]["rougeL"] == pytest.approx(100 * (entry.scores["rougeL"] or 0))
    assert document["differences"][0]["low"] == pytest.approx(100 * found.differences[0].low)
