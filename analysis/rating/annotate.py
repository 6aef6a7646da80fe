"""A blinded rating of two systems by people: a sheet to fill in, and what the filled sheets say.

The sheet shows each source with two texts, left and right by lot, in shuffled order; it names no system. Which text is
whose is in a key beside it, which raters need not see. Any number of raters fill in copies of one sheet.
"""

from __future__ import annotations

import csv
import io
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from analysis.comparison.candidates import baseline_of
from analysis.comparison.comparison import Comparison
from analysis.format.cells import inert
from analysis.texts.outputs import Outputs, System, collect
from trainables.config import digest
from trainables.errors import UserError, nearest
from trainables.records import atomic_files, typed_document
from trainables.records.typed_document import Document

CHOICES = ("left", "right", "equal")
SHEET_COLUMNS = ("sheet", "item", "source", "left", "right", "choice", "comment")


@dataclass(frozen=True)
class RatedPair:
    """One question: a source and two texts; `left_is_first` is for the key alone."""

    number: int
    example: str
    source: str
    left: str
    right: str
    left_is_first: bool


@dataclass(frozen=True)
class Sheet:
    """The questions about two systems; `identity` ties filled copies to their key."""

    identity: str
    first: str
    second: str
    items: tuple[RatedPair, ...]


class KeyItem(BaseModel):
    """Which side of a question the first system's text stands on."""

    model_config = ConfigDict(frozen=True)

    item: int
    id: str
    left_is_first: bool


class SheetKey(Document):
    """The key of a sheet as it lies beside it; until 2026-11-30 it named no schema."""

    schema_version: int = Field(default=1, alias="schema")
    sheet: str
    first: str
    second: str
    items: tuple[KeyItem, ...]


@dataclass(frozen=True)
class Ratings:
    """What raters preferred: items by mean vote, the share of the first with its interval, and their agreement."""

    first: str
    second: str
    raters: tuple[str, ...]
    items: int
    votes: dict[str, int]  # "first", "second", "equal", over all raters
    preference: float  # mean over items, ties half: 0.5 is no preference
    low: float
    high: float
    agreement: float | None  # share of equal pairs of votes on the same item
    alpha: float | None  # Krippendorff's, nominal

    @property
    def sentence(self) -> str:
        """Say what the ratings show."""
        share = f"{100 * self.preference:.0f}% [{100 * self.low:.0f}%, {100 * self.high:.0f}%]"
        who = f"{len(self.raters)} rater{'s' if len(self.raters) > 1 else ''} on {self.items} items"
        if self.low > 0.5:
            verdict = f"{self.first} is preferred to {self.second}"
        elif self.high < 0.5:
            verdict = f"{self.second} is preferred to {self.first}"
        else:
            verdict = f"{self.first} and {self.second} cannot be told apart"
        agreed = ""
        if self.agreement is not None:
            alpha = "undefined" if self.alpha is None else f"{self.alpha:.2f}"
            agreed = f"; raters agree on {100 * self.agreement:.0f}% of pairs (Krippendorff's alpha {alpha})"
        give = "give" if len(self.raters) > 1 else "gives"
        return f"{verdict}: {who} {give} {self.first} a preference of {share}{agreed}."


def make_sheet(outputs: Outputs, first: System, second: System, count: int, seed: int = 0) -> Sheet:
    """Draw `count` examples that both systems have a text for, in shuffled order, sides by lot.

    Raises:
        UserError: fewer than one, the same system twice, or no example that both have.
    """
    if count < 1:
        raise UserError(f"--annotate must be at least 1, got {count}")
    if first.name == second.name:
        raise UserError(f"a rating needs two systems, got {first.name!r} twice")
    shared = [one for one in outputs.examples if one.id in first.texts and one.id in second.texts]
    if not shared:
        raise UserError(f"{first.name} and {second.name} share no example")
    identity = digest([first.name, second.name, count, seed, first.texts, second.texts])
    draw = random.Random(f"{identity} {seed}")
    items = []
    for number, example in enumerate(draw.sample(shared, min(count, len(shared))), start=1):
        left_is_first = draw.random() < 0.5
        left, right = (first, second) if left_is_first else (second, first)
        items.append(
            RatedPair(
                number, example.id, example.source, left.texts[example.id], right.texts[example.id], left_is_first
            )
        )
    return Sheet(identity, first.name, second.name, tuple(items))


def sheet_of(found: Comparison, systems: str, count: int, seed: int = 0) -> Sheet:
    """Draw a sheet for two systems by name ("A,B"); without names the best configuration and its baseline.

    Raises:
        UserError: no such system, not two, or nothing to compare.
    """
    outputs = collect(found, most=10_000)
    if systems:
        names = [name.strip() for name in systems.split(",")]
        if len(names) != 2:
            raise UserError(f"--systems needs two names with a comma between, got {systems!r}")
        known = [one.name for one in outputs.systems]
        for name in names:
            if name not in known:
                raise UserError(f"there are no texts of {name!r}; {nearest(name, known)}")
        first, second = (outputs.named(name) for name in names)
    else:
        trial = found.best_trial
        baseline = baseline_of(found.table, found.best, found.metric) if found.best else None
        first = outputs.named(found.table.name_of(trial)) if trial else None
        second = outputs.named(found.table.name_of(baseline.row)) if baseline else None
    if first is None or second is None:
        raise UserError("no finished configuration with its baseline: name the two systems with --systems A,B")
    return make_sheet(outputs, first, second, count, seed)


def write_sheet(sheet: Sheet, folder: Path) -> list[Path]:
    """Write the sheet as HTML and CSV, and its key; return their paths, the key's last."""
    from analysis.render.templating import fill_template

    page = folder / f"annotate-{sheet.identity}.html"
    table = folder / f"annotate-{sheet.identity}.csv"
    key = folder / f"annotate-{sheet.identity}-key.json"
    atomic_files.write_text(
        page, fill_template("annotate.html", "annotate.js", sheet=sheet, columns=SHEET_COLUMNS, choices=CHOICES)
    )
    atomic_files.write_text(table, sheet_to_csv(sheet))
    items = tuple(KeyItem(item=one.number, id=one.example, left_is_first=one.left_is_first) for one in sheet.items)
    content = SheetKey(sheet=sheet.identity, first=sheet.first, second=sheet.second, items=items)
    atomic_files.write_json(key, content.model_dump(mode="json", by_alias=True))
    return [page, table, key]


def sheet_to_csv(sheet: Sheet) -> str:
    """Return the empty sheet as CSV; a text that a spreadsheet would take for a formula gets a leading apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SHEET_COLUMNS)
    for one in sheet.items:
        writer.writerow([sheet.identity, one.number, *map(inert, (one.source, one.left, one.right)), "", ""])
    return text.getvalue()


def read_ratings(paths: Sequence[Path], folder: Path) -> Ratings:
    """Read filled sheets, a file per rater, with the key that lies in `folder`.

    Raises:
        UserError: a file is no filled sheet, holds another choice than left, right or equal, or has no key.
    """
    every = {path.stem if len({one.stem for one in paths}) == len(paths) else str(path): _read(path) for path in paths}
    identities = {sheet for votes in every.values() for sheet, _ in votes}
    if len(identities) != 1:
        raise UserError(f"the files must be copies of one filled sheet, got {len(identities)} sheets")
    identity = identities.pop()
    path = folder / f"annotate-{identity}-key.json"
    try:
        key = typed_document.read(path, SheetKey)
    except (FileNotFoundError, atomic_files.DamagedFile) as error:
        raise UserError(f"the key of sheet {identity} cannot be read: {error}") from None
    left_is_first = {one.item: one.left_is_first for one in key.items}
    votes: dict[int, list[str]] = {}
    for name, rated in every.items():
        for (_, item), choice in rated.items():
            if item not in left_is_first:
                raise UserError(f"{name}: item {item} is not on sheet {identity}")
            side = choice if choice == "equal" else ("first" if (choice == "left") == left_is_first[item] else "second")
            votes.setdefault(item, []).append(side)
    return summarize_votes(key.first, key.second, tuple(every), votes)


def summarize_votes(first: str, second: str, raters: Sequence[str], votes: dict[int, list[str]]) -> Ratings:
    """Return preference and agreement of votes ("first", "second", "equal") by item.

    The preference of an item is the mean over its raters, ties half. The interval over items is Wilson's as if each
    were one vote without ties: with ties or several raters too wide rather than too narrow.
    """
    value = {"first": 1.0, "second": 0.0, "equal": 0.5}
    means = [math.fsum(value[vote] for vote in rated) / len(rated) for rated in votes.values()]
    preference = math.fsum(means) / len(means)
    low, high = wilson(preference, len(means))
    total = Counter(vote for rated in votes.values() for vote in rated)
    counts = {name: total[name] for name in ("first", "second", "equal")}
    several = [rated for rated in votes.values() if len(rated) > 1]
    agreement = None
    if several:
        pairs = sum(len(rated) * (len(rated) - 1) for rated in several)
        equal = sum(count * (count - 1) for rated in several for count in Counter(rated).values())
        agreement = equal / pairs
    alpha = nominal_alpha(several) if several else None
    return Ratings(first, second, tuple(raters), len(means), counts, preference, low, high, agreement, alpha)


def wilson(share: float, n: int, quantile: float = 1.959963984540054) -> tuple[float, float]:
    """Return Wilson's 95% interval (1927) of a share of n."""
    # statsmodels' proportion_confint gives the same, and takes 1.3 s to import for one sentence that is printed.
    centre = (share + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
    half = quantile / (1 + quantile**2 / n) * math.sqrt(share * (1 - share) / n + quantile**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def nominal_alpha(units: Iterable[Sequence[Any]]) -> float | None:
    """Return Krippendorff's alpha for nominal values, units of any number of raters; None where all votes are equal."""
    import krippendorff
    import numpy as np

    rated = [Counter(unit) for unit in units if len(unit) > 1]
    values = list(dict.fromkeys(value for unit in rated for value in unit))
    if len(values) < 2:
        return None
    counts = np.array([[unit[value] for value in values] for unit in rated])
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"))


def _read(path: Path) -> dict[tuple[str, int], str]:
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a filled sheet: {error}") from None
    if not rows or not {"sheet", "item", "choice"} <= set(rows[0]):
        raise UserError(f"{path} is no filled sheet: it needs the columns sheet, item and choice")
    found = {}
    for row in rows:
        choice = (row["choice"] or "").strip().lower()
        if not choice:
            continue
        if choice not in CHOICES or not str(row["item"]).isdigit():
            raise UserError(f"{path}, item {row['item']}: choice must be left, right or equal, got {choice!r}")
        found[(str(row["sheet"]), int(row["item"]))] = choice
    if not found:
        raise UserError(f"{path} has no choice filled in")
    return found
