"""What decisions cost beside each other: medians over seeds, ratios within seeds, and how good the choices were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from benchmarks import output
from benchmarks.deciding.systems import SYSTEMS, Cost
from benchmarks.deciding.truth import regret_of

CLOSE = 0.5  # points within which a choice is as good as the best
LEADING = ("d", "ca", "c")  # whom the others are compared with: the first that was measured

Costs = Mapping[str, Sequence[Cost]]
"""The decisions of each system, one a seed."""


@dataclass(frozen=True)
class Row:
    """One system over all its seeds; ratios are of its cost to the leading system's, median over shared seeds."""

    seeds: int
    wall_s: float
    cpu_s: float
    wall_ratio: float | None
    cpu_ratio: float | None
    tokens: float
    texts: float
    others_load: float
    regret: float | None  # mean, in points; None where nothing is known of the truth
    largest_regret: float | None
    close: int | None  # choices within CLOSE of the best


def leading(costs: Costs) -> str | None:
    """Return the system that the others are compared with."""
    return next((one for one in LEADING if costs.get(one)), None)


def rows_of(costs: Costs, points: Mapping[str, float] | None) -> dict[str, Row]:
    """Return what each system took and how good its choices were."""
    first = leading(costs)
    base = {one.seed: one for one in costs[first]} if first else {}
    return {system: _row(found, base, points) for system, found in costs.items() if found}


def _row(found: Sequence[Cost], base: Mapping[int, Cost], points: Mapping[str, float] | None) -> Row:
    shared = [(one, base[one.seed]) for one in found if one.seed in base]
    regrets = [regret_of(points, one.chosen) for one in found] if points else []
    return Row(
        seeds=len(found),
        wall_s=median(one.wall_s for one in found),
        cpu_s=median(one.cpu_s for one in found),
        wall_ratio=median(one.wall_s / other.wall_s for one, other in shared) if shared else None,
        cpu_ratio=median(one.cpu_s / other.cpu_s for one, other in shared) if shared else None,
        tokens=median(one.tokens for one in found),
        texts=median(one.texts for one in found),
        others_load=mean(one.others_load for one in found),
        regret=mean(regrets) if regrets else None,
        largest_regret=max(regrets, default=None),
        close=sum(one <= CLOSE for one in regrets) if regrets else None,
    )


def table_of(title: str, rows: Mapping[str, Row]) -> Any:
    """Return the table of all systems."""
    lines = [
        [
            f"({system}) {SYSTEMS[system].title}",
            str(row.seeds),
            f"{row.wall_s:.0f} s",
            _ratio(row.wall_ratio),
            f"{row.cpu_s:.0f} s",
            _ratio(row.cpu_ratio),
            f"{row.tokens:,.0f}",
            f"{row.texts:,.0f}",
            "" if row.regret is None else f"{row.regret:.2f}",
            "" if row.largest_regret is None else f"{row.largest_regret:.2f}",
            "" if row.close is None else f"{row.close} of {row.seeds}",
            f"{row.others_load:.1f}",
        ]
        for system, row in rows.items()
    ]
    columns = ["", "seeds", "wall", "ratio", "CPU", "ratio", "tokens", "texts", "regret", "most", "close", "others"]
    return output.table(title, columns, lines)


def truth_table(points: Mapping[str, float]) -> Any:
    """Return the table of how good the configurations truly are, the best first."""
    ranked = sorted(points.items(), key=lambda one: -one[1])
    return output.table(
        "ROUGE-L on the held-out dialogues, by prompt, rank and rate",
        ["", "points", "behind"],
        [[name, f"{value:.2f}", f"{ranked[0][1] - value:.2f}"] for name, value in ranked],
    )


def notes_of(rows: Mapping[str, Row], first: str | None) -> list[str]:
    """Return what the columns mean."""
    return [
        *(f"({system}) {SYSTEMS[system].sentence}." for system in rows),
        "wall, CPU, tokens, texts: medians over seeds, from the command to its end; CPU of all processes, sampled.",
        *([f"ratio: to ({first}) of the same seed, median over seeds."] if first else []),
        "tokens: of summaries, trained on. texts: written, those of test and of baselines included.",
        "regret: ROUGE-L points on the held-out dialogues that the choice is behind the best configuration, mean.",
        f"close: choices within {CLOSE:g} points of the best. others: mean cores that were busy with anything else.",
        "This project also evaluates two baselines and the test examples, compares and reports; peers do not.",
        "A seed draws 400 validation dialogues, the order of the configurations and the sampler's seed.",
    ]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
