"""What a search looks like: its rows, its Pareto set without a winner, its section of the page."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from analysis.compare import compare
from analysis.findings.findings import Findings
from analysis.format.terminal import Terminal
from analysis.render import json_report, latex, markdown, search_figures, terminal_tables
from analysis.render.page import render_page
from analysis.render.row_order import shown_rows


def printed(found: Findings, width: int) -> str:
    out = io.StringIO()
    terminal_tables.to_terminal(Terminal(file=out, width=width, force_terminal=False), found)
    return out.getvalue()


def test_the_best_come_first_and_the_rest_is_named(searched: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compare(searched)
    monkeypatch.setattr(terminal_tables, "MOST_ROWS", 4)
    shown = shown_rows(found, 4)
    names = [row.name for row in shown.rows if row.kind == "configuration"]
    assert names == [one.name for one in found.ranking[:4]]
    assert shown.left_out == 10
    assert [row.name for row in shown_rows(found).rows][-2:] == ["C", "E"]  # failed, pending
    text = printed(Findings(found), 100)
    assert "The best first; 10 more of the 14 configurations are in report/comparison.md and .csv." in text
    for title in ("rate", "rank", "dropout", "alpha", "prompt"):
        assert title in text.splitlines()[4]
    assert max(map(len, printed(Findings(found), 80).splitlines())) <= 80


def test_several_objectives_name_a_set_and_no_winner(several: Path) -> None:
    found = compare(several)
    findings = Findings(found)
    names = [one.name for one in found.front]
    assert len(names) > 1
    text = printed(findings, 100)
    assert f"No single best: {names[0]}" in " ".join(text.split())
    assert "runner-up" not in text
    assert "Best: " not in text
    report = json_report.report_of(findings).document()
    assert report["best"] is None
    assert [one["name"] for one in report["pareto"]] == names
    values = report["pareto"][0]["values"]
    assert values["rougeL"] == pytest.approx(100 * found.front[0].selection)
    assert set(values) == {"rougeL", "-trainable_parameters", "-runtime_s"}
    assert report["findings"]["winner"] is None
    assert "No single best" in latex.to_latex(findings)
    assert "No single best" in markdown.to_markdown(findings)


def test_a_search_in_json_has_its_space_and_its_findings(searched: Path) -> None:
    document = json_report.report_of(Findings(compare(searched))).document()["search"]
    assert document["space"]["trials"] == 14
    assert (document["sampler"], len(document["infeasible"])) == ("tpe", 1)
    assert {one["axis"] for one in document["importance"]} >= {"learning_rate", "prompt"}
    assert document["progress"][-1]["best"] == pytest.approx(document["expected_best"][-1]["score"])


@pytest.mark.slow
def test_the_page_has_a_section_with_the_figures_of_the_search(several: Path) -> None:
    made = render_page(Findings(compare(several)))
    names = [one.name for one in made.drawings]
    expected = ["pareto-0-1", "pareto-0-2", "pareto-1-2", "best-so-far", "expected-best", "slices", "parallel"]
    assert [name for name in names if name.removeprefix("figure-") in expected] == [f"figure-{one}" for one in expected]
    assert '<section id="search"' in made.text
    assert '<a href="#search">' in made.text
    section = made.text.split('<section id="search"')[1].split("</section>")[0]
    assert section.count("<svg") == len(expected)
    assert section.count("<desc") == len(expected)
    assert "mathdefault" not in section
    assert "The search tried 10 points" in section


def test_a_grid_has_no_section_of_a_search(make_sweep) -> None:  # type: ignore[no-untyped-def]
    found = Findings(compare(make_sweep()))
    assert search_figures.search_figures(found) == []
    assert found.search_sentences == []
