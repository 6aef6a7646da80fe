"""Figures as parts of a page: own ids, the page's colors, words for those who do not see them."""

from __future__ import annotations

import io
import math
import re
from functools import cache
from xml.etree import ElementTree

import pytest
from matplotlib.image import imread

from analysis.render.svg import (
    INK,
    LIGHT,
    RULE,
    SERIES_COLORS,
    SURFACE,
    Bar,
    Drawing,
    Spot,
    Track,
    draw_costs,
    draw_curves,
    draw_forest,
    draw_half_normal,
    draw_lines,
    pareto,
)


@cache
def drawings() -> list[Drawing]:
    return draw()


def draw() -> list[Drawing]:
    bars = [
        Bar("A <b>", 1.0, -1.0, 3.0, False),
        Bar("$B_1$", 2.0, 1.0, 3.0, True, True),
        Bar("C", 1, -math.inf, math.inf, False),
    ]
    tracks = [Track("A", [(1, 3.0), (2, math.nan)], [(0, 4.0), (2, 2.5)], 0), Track("B", [], [(2, 2.4)], None)]
    spots = [Spot("A", 1.0, 3.0), Spot("B", 2.0, 2.0), Spot("C", 2.5, 4.0)]
    return [
        draw_forest("one", "Title & more", "about", [("x", bars), ("y", bars[:1])]),
        draw_curves("two", "T", "about", tracks),
        draw_costs("three", "T", "about", "q", [("time", "s", spots), ("memory", "", spots), ("tokens", "", spots)]),
        draw_half_normal("four", "T", "about", "points", [("a", 0.1, 0.1), ("b", 2.0, 0.7)], [("m", 1.0), ("s", 1.5)]),
        draw_lines("five", "T", "about", ("n", "score"), [("", [(1, 2), (2, 3)])]),
    ]  # fmt: skip


def test_every_drawing_is_whole_xml_with_a_title_a_description_and_ids_of_its_own() -> None:
    ids: list[str] = []
    for one in drawings():
        root = ElementTree.fromstring(one.svg)
        assert root.get("role") == "img"
        labels = root.get("aria-labelledby", "").split()
        texts = {element.get("id"): element.text for element in root if element.get("id") in labels}
        assert texts == {f"{one.name}-title": one.title, f"{one.name}-about": one.about}
        own = [element.get("id") for element in root.iter() if element.get("id")]
        used = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', one.svg)
        assert {first or second for first, second in used} <= set(own)
        ids += own
    assert len(ids) == len(set(ids))


def test_files_have_the_colors_of_the_light_page_and_the_same_bytes_again() -> None:
    for one in drawings()[2:3]:
        files = one.files()
        assert files == one.files()
        svg = files[".svg"].decode()
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert "var(" not in svg
        assert "fe00f" not in svg
        image = (255 * imread(io.BytesIO(files[".png"]))).round().astype(int)[..., :3].reshape(-1, 3)
        for color in (INK, RULE, SURFACE, SERIES_COLORS[0]):
            assert (image == list(bytes.fromhex(LIGHT[color][1:]))).all(axis=1).any(), color
        red, green, blue = image.T
        assert not ((red > 200) & (green < 60) & (blue > 200)).any()  # a stand-in of the page


def test_colors_are_the_pages_variables_and_text_is_text() -> None:
    for one in drawings():
        assert "fe00f" not in one.svg
        assert "currentColor" in one.svg
        assert "var(--c0)" in one.svg or one.name == "figure-five"
        assert "<text" in one.svg
        assert "DejaVu" not in one.svg
    assert len({*SERIES_COLORS, INK}) == len(SERIES_COLORS) + 1


def test_names_are_shown_as_they_are() -> None:
    svg = drawings()[0].svg
    assert "A &lt;b&gt;" in svg
    assert "$B_1$" in svg  # no mathematics


def test_the_same_drawing_has_the_same_bytes() -> None:
    assert [one.svg for one in drawings()] == [one.svg for one in draw()]


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 1), (2, 2), (3, 1.5)], {0, 1}),
        ([(1, 2), (2, 2)], {0}),
        ([(1, 2), (1, 3)], {1}),
        ([(1, 2), (1, 2)], {0, 1}),
        ([], set()),
    ],
)
def test_the_pareto_set_is_what_nothing_beats(points: list, front: set) -> None:
    assert pareto(points) == front


def test_names_that_no_xml_can_hold_are_shown_as_their_codes() -> None:
    name = "=n[/b]\x1b]0;t\x07\x00\u202e <!-- -- > & ]]> \ud800\n$x^2$ _"
    shown = r"=n[/b]\x1b]0;t\x07\x00\u202e <!-- -- > & ]]> \ud800"
    made = [
        draw_forest("one", name, name, [(name, [Bar(name, 1.0, 0.5, 2.0, True)])]),
        draw_curves("two", name, name, [Track(name, [(1, 3.0)], [(0, 4.0), (2, 2.5)], 0)]),
        draw_costs("three", name, name, name, [(name, name, [Spot(name, 1.0, 3.0)])]),
        draw_half_normal("four", name, name, name, [(name, 2.0, 0.7)], [(name, 1.0)]),
        draw_lines("five", name, name, (name, name), [(name, [(1, 2), (2, 3)]), (name, [(1, 1), (2, 2)])]),
    ]
    for one in made:
        for text in (one.svg, *([one.files()[".svg"].decode("utf-8")] if one is made[0] else [])):
            words = "".join(ElementTree.fromstring(text).itertext())
            assert shown in words, one.name
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", text)
