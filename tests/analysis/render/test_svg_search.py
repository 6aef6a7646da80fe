"""The figures of a search: no spot is cut by an edge, and the best stands at its own value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.figure import Figure

from analysis.render import svg_search
from analysis.render.svg_search import SlicePanel, StepPanel

SPOTS = ((1.8, 30.0), (1.8, 20.0), (1.8, 10.0))


def drawn(monkeypatch: pytest.MonkeyPatch, make: Callable[[], Any]) -> Figure:
    figure = Figure()
    colors = {"MUTED": "gray", "SURFACE": "white", "SERIES_COLORS": ["blue", "red"]}  # the page's have names of its own
    for name, value in colors.items():
        monkeypatch.setattr(svg_search, name, value)
    monkeypatch.setattr(svg_search, "draw_figure", lambda name, title, about, draw, size: draw(figure))
    make()
    return figure


def test_spots_that_end_at_one_time_are_inside_of_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = StepPanel("minutes", [(1.8, 30.0), (1.8, 30.0)], SPOTS)
    figure = drawn(monkeypatch, lambda: svg_search.draw_best_so_far("best", "", "", "points", [panel]))
    left, right = figure.axes[0].get_xlim()
    assert (left, right > 1.85) == (0, True)


def test_the_best_of_a_choice_stands_at_its_value_and_the_others_nearest_to_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = [place % 2 for place in range(1, 20)]
    panel = SlicePanel("prompt", False, ("v1", "v2"), [(place, 1.0 * place) for place in places])
    figure = drawn(monkeypatch, lambda: svg_search.draw_slices("slices", "", "", "points", [panel]))
    others, best = (line.get_xdata() for line in figure.axes[0].lines)
    assert list(best) == [1]
    assert [round(x) for x in others] == places[1:]
    assert max(abs(x - place) for x, place in zip(others, places[1:], strict=True)) <= 0.2
