"""A rating sheet: blind, shuffled, harmless to open, and read back to what was voted."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import pytest
import typer
from sweeps_on_disk import baseline, configuration, without_schema
from typer.testing import CliRunner

from analysis.compare import compare
from analysis.rating.annotate import Sheet, nominal_alpha, read_ratings, sheet_of, summarize_votes, wilson, write_sheet
from analysis.report import report
from trainables.errors import UserError

Make = Callable[..., Path]


@pytest.fixture
def sheet(make_sweep: Make) -> Sheet:
    found = compare(
        make_sweep([baseline(quality=0.2), configuration("A", quality=0.9), configuration("B", quality=0.5)])
    )
    return sheet_of(found, "", 12)


def fill(paths: list[Path], folder: Path, name: str, choose: Callable[[dict], str]) -> Path:
    """Fill in a copy of the sheet as a rater does, who sees the CSV alone."""
    with paths[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "choice": choose(row)} for row in rows)
    return path


def test_the_sheet_names_no_system_and_sides_are_drawn(sheet: Sheet, tmp_path: Path) -> None:
    page, table, key = write_sheet(sheet, tmp_path)
    assert (sheet.first, sheet.second) == ("A", "zero-shot v1")
    for path in (page, table):
        text = path.read_text()
        assert "zero-shot" not in text
        assert "left_is_first" not in text
        assert "src=" not in text
        assert "http" not in text.replace('http-equiv="Content-Security-Policy"', "")
    sides = Counter(one.left_is_first for one in sheet.items)
    assert len(sheet.items) == 12
    assert sides[True] >= 2 <= sides[False]
    assert [item.example for item in sheet.items] != sorted(item.example for item in sheet.items)
    assert json.loads(key.read_text())["first"] == "A"


def test_the_same_request_gives_the_same_sheet(make_sweep: Make, tmp_path: Path) -> None:
    found = compare(make_sweep([baseline(), configuration("A"), configuration("B")]))
    assert sheet_of(found, "A,B", 5) == sheet_of(found, "A,B", 5)
    assert sheet_of(found, "A,B", 5) != sheet_of(found, "A,B", 5, seed=1)
    assert len(sheet_of(found, "A,B", 500).items) == 20


@pytest.mark.parametrize("is_older", [False, True])
def test_ratings_are_read_back_to_whose_text_was_preferred(sheet: Sheet, tmp_path: Path, is_older: bool) -> None:
    paths = write_sheet(sheet, tmp_path)
    if is_older:
        without_schema(paths[-1])
    first = {one.number: "left" if one.left_is_first else "right" for one in sheet.items}
    one = fill(paths, tmp_path, "anna", lambda row: first[int(row["item"])])
    two = fill(paths, tmp_path, "ben", lambda row: first[int(row["item"])] if int(row["item"]) > 3 else "equal")
    found = read_ratings([one, two], tmp_path)
    assert (found.raters, found.items, found.votes) == (("anna", "ben"), 12, {"first": 21, "second": 0, "equal": 3})
    assert found.preference == pytest.approx((9 + 3 * 0.75) / 12)
    assert found.agreement == pytest.approx(9 / 12)
    assert "A is preferred to zero-shot v1: 2 raters on 12 items" in found.sentence


def test_items_without_a_choice_are_left_out(sheet: Sheet, tmp_path: Path) -> None:
    paths = write_sheet(sheet, tmp_path)
    half = fill(paths, tmp_path, "anna", lambda row: "Equal " if int(row["item"]) < 5 else "")
    found = read_ratings([half], tmp_path)
    assert (found.items, found.preference, found.agreement) == (4, 0.5, None)
    assert "cannot be told apart" in found.sentence


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "needs the columns sheet, item and choice"),
        ("sheet,item,choice\n{id},1,better\n", "choice must be left, right or equal, got 'better'"),
        ("sheet,item,choice\n{id},1,\n", "no choice filled in"),
        ("sheet,item,choice\n{id},99,left\n", "item 99 is not on sheet"),
        ("sheet,item,choice\nffffffff,1,left\n", "the key of sheet ffffffff cannot be read"),
        ("sheet,item,choice\n../x,1,left\n", "the key of sheet"),
    ],
)
def test_a_wrong_file_is_refused_with_the_reason(sheet: Sheet, tmp_path: Path, content: str, message: str) -> None:
    write_sheet(sheet, tmp_path)
    path = tmp_path / "filled.csv"
    path.write_text(content.format(id=sheet.identity))
    with pytest.raises(UserError, match=message):
        read_ratings([path], tmp_path)


def test_texts_cannot_become_formulas_or_markup(make_sweep: Make, tmp_path: Path) -> None:
    folder = make_sweep([baseline(), configuration("A")])
    path = folder / "data" / "test.jsonl"
    rows = [{**json.loads(line), "source": "=1+1 <script>alert(1)</script>"} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page, table, _ = write_sheet(sheet_of(compare(folder), "", 3), tmp_path)
    assert "<script>alert" not in page.read_text()
    with table.open(newline="") as file:
        assert all(row["source"].startswith("'=1+1") for row in csv.DictReader(file))


@pytest.mark.parametrize("systems", ["A", "A,A", "A,Z"])
def test_two_systems_that_are_there_are_needed(make_sweep: Make, systems: str) -> None:
    found = compare(make_sweep([baseline(), configuration("A")]))
    with pytest.raises(UserError, match=r"two|no texts of 'Z'"):
        sheet_of(found, systems, 5)


def test_the_command_writes_a_sheet_and_reads_it_back(make_sweep: Make) -> None:
    folder = make_sweep([baseline(), configuration("A")])
    app = typer.Typer()
    app.command()(report)
    assert "To fill in" in CliRunner().invoke(app, [str(folder), "--annotate", "4"]).stdout
    (table,) = (folder / "report").glob("annotate-*.csv")
    filled = fill([table, table], folder, "anna", lambda row: "equal")
    done = CliRunner().invoke(app, [str(folder), "--ratings", str(filled)])
    assert done.stdout.startswith("A and zero-shot v1 cannot be told apart: 1 rater on 4 items gives A ")


def test_krippendorffs_published_example() -> None:
    # Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: four observers, missing data, 0.743.
    observers = [
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    ]
    units = [
        [value for value in unit if value != "."] for unit in zip(*(one.split() for one in observers), strict=True)
    ]
    assert nominal_alpha(units) == pytest.approx(0.743, abs=5e-4)
    assert nominal_alpha([["a", "a"], ["a", "a"]]) is None
    assert nominal_alpha([["a", "a"], ["b", "b"]]) == 1


def test_agreement_is_one_minus_observed_over_expected_pairs_that_differ() -> None:
    draw = random.Random(5)
    for _ in range(200):
        units = [draw.choices("abc", k=draw.randint(1, 5)) for _ in range(draw.randint(2, 20))]
        rated = [unit for unit in units if len(unit) > 1]
        votes = [vote for unit in rated for vote in unit]
        apart = sum(sum(a != b for a, b in permutations(unit, 2)) / (len(unit) - 1) for unit in rated)
        expected = sum(a != b for a, b in permutations(votes, 2)) / (len(votes) - 1) if votes else 0
        found = nominal_alpha(units)
        assert found == (pytest.approx(1 - apart / expected, abs=1e-12) if expected else None)


def test_wilsons_interval_is_that_of_statsmodels() -> None:
    from statsmodels.stats.proportion import proportion_confint

    for count, n in ((0, 5), (3, 10), (50, 50), (40, 90)):
        assert wilson(count / n, n) == pytest.approx(proportion_confint(count, n, method="wilson"), abs=1e-12)


def test_one_rater_has_no_agreement() -> None:
    found = summarize_votes("A", "B", ("x",), {1: ["first"], 2: ["first"]})
    assert (found.agreement, found.alpha, found.preference) == (None, None, 1.0)
