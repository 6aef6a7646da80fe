"""The tables of findings: what stands in them with and without seeds, for grids, ranks and searches."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sweeps_on_disk import baseline, configuration, grid

from analysis.compare import compare
from analysis.findings import mixed_model
from analysis.findings.findings import Findings
from analysis.render.csv_tables import tests_to_csv as csv_of
from analysis.render.panels import baseline_grid, effect_grid, more_grids, p_text
from analysis.render.search_panels import search_grids
from analysis.render.text_grids import TextGrid

Make = Callable[..., Path]


def columns_of(grid_: TextGrid) -> dict[str, list[str]]:
    assert all(len(row) == len(grid_.heads) for row in grid_.rows)
    assert len(grid_.kinds) == len(grid_.rows)
    return dict(zip([head.title for head in grid_.heads], map(list, zip(*grid_.rows, strict=True)), strict=True))


def test_every_configuration_has_a_row_with_its_test_and_notes(make_sweep: Make) -> None:
    found = compare(make_sweep())
    findings = Findings(found)
    columns = columns_of(baseline_grid(findings))
    tests = findings.tests
    assert columns["name"] == list("ABCDEFGH")
    assert columns["Holm p"] == [p_text(one.p_holm) for one in tests]
    assert columns["difference"] == [f"{100 * one.difference:+.2f}" for one in tests]
    assert [bool(mark) for mark in columns[""]] == [one.has_star for one in tests]
    assert "over runs" not in columns
    assert "share" in columns_of(effect_grid(findings))


def test_runs_have_columns_and_sentences_of_their_own(make_sweep: Make) -> None:
    trials = [baseline()]
    for seed in (42, 43, 44):
        trials += [configuration("A", seed=seed, quality=0.6), configuration("B", rank=16, seed=seed, quality=0.7)]
    found = compare(make_sweep(trials))
    findings = Findings(found)
    columns = columns_of(baseline_grid(findings))
    assert columns["runs"] == ["3", "3"]
    assert all(text.startswith("[+") for text in columns["over runs"])
    assert "over runs" in columns_of(effect_grid(findings))
    said = " ".join(findings.sentences)
    assert "By the runs alone, each one observation, 2 of 2 differences from a baseline hold" in said
    text = mixed_model.sentence(found, findings.mixed)
    assert text
    assert text.startswith("A mixed model with crossed examples and runs gives B minus zero-shot v1 ROUGE-L +")


def test_a_grid_has_tables_of_its_choice_axes_and_metrics(make_sweep: Make) -> None:
    found = compare(make_sweep())
    grids = dict(more_grids(Findings(found)))
    assert list(grids) == [
        "How far the choice holds, and what is cheaper",
        "Best for each value of an axis",
        "What another metric would choose",
    ]
    choice = columns_of(grids["How far the choice holds, and what is cheaper"])
    assert sorted(choice["name"]) == list("ABCDEFGH")
    assert found.best
    place = choice["name"].index(found.best.name)
    assert choice[""][place].startswith("optimistic: worth ")
    axes = columns_of(grids["Best for each value of an axis"])
    assert list(zip(axes["axis"], axes["value"], strict=True))[:3] == [
        ("prompt", "v1"),
        ("prompt", "v2"),
        ("lora rank", "8"),
    ]


def test_a_rank_of_three_values_has_a_trend_and_a_sentence(make_sweep: Make) -> None:
    trials = [configuration(n, rank=r, quality=q) for n, r, q in zip("ABC", (4, 8, 16), (0.2, 0.5, 0.8), strict=True)]
    found = compare(make_sweep([baseline(), *trials]))
    findings = Findings(found)
    columns = columns_of(dict(more_grids(findings))["Trends along ordered axes"])
    assert (columns["axis"], columns["per"]) == (["lora rank"], ["doubling"])
    assert columns["means"][0].startswith("4: ")
    assert any(one.startswith("Per doubling of lora rank ROUGE-L changes by +") for one in findings.sentences)


def test_a_search_has_importance_and_draws(make_sweep: Make) -> None:
    draw = np.random.default_rng(0)
    trials = [
        configuration(f"T{index}", rank=int(draw.choice([4, 8, 16])), rate=float(rate), quality=0.3 + index / 40)
        for index, rate in enumerate(np.geomspace(1e-5, 1e-3, 12))
    ]
    grids = dict(search_grids(Findings(compare(make_sweep([baseline(), *trials])))))
    assert columns_of(grids["What matters in the search"])["axis"][0] == "learning rate"
    assert columns_of(grids["Expected best of n draws"])["draws"] == ["1", "2", "4", "8", "12"]


def test_the_tests_read_back_from_csv(make_sweep: Make) -> None:
    found = compare(make_sweep(grid(B={"state": None})))
    findings = Findings(found)
    rows = list(csv.DictReader(io.StringIO(csv_of(findings))))
    tests = findings.every_test
    assert [(row["metric"], row["name"]) for row in rows] == [(one.metric, one.name) for one in tests]
    assert [float(row["p_max_t"]) for row in rows] == pytest.approx([one.p_max_t for one in tests])
    assert {row["run_sd"] for row in rows} == {""}
    assert csv_of(Findings(compare(found.table.folder))) == csv_of(findings)


@pytest.mark.parametrize(("p", "text"), [(0.0004, "< 0.001"), (0.0313, "0.031"), (1.0, "1.000"), (None, "–")])
def test_a_p_is_written_with_three_digits(p: float | None, text: str) -> None:
    assert p_text(p) == text
