"""The tables of findings as grids of text: every configuration against its baseline, and the effects of the axes."""

from __future__ import annotations

from analysis.baselines import STAR, BaselineTest
from analysis.cells import NOTHING
from analysis.compare import Comparison
from analysis.grids import Grid, Head
from analysis.sentences import title_of, value_of


def p_text(p: float | None) -> str:
    """Write a p: '0.031', '< 0.001', a dash for none."""
    if p is None or p != p:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def interval_text(metric: str, low: float, high: float) -> str:
    """Write an interval of differences: '[-0.80, +1.42]'."""
    return f"[{value_of(metric, low, True)}, {value_of(metric, high, True)}]"


def baseline_grid(found: Comparison) -> Grid:
    """Return each configuration minus its prompt-matched baseline by the deciding metric, with its notes."""
    tests, notes = found.findings.tests, found.findings.notes
    heads = (
        Head("name", is_number=False),
        Head("against", 2, is_number=False),
        Head(title_of(found.metric), 3),
        Head("it", 3),
        Head("difference"),
        Head("95% interval", 1),
        Head("Holm p", 1),
        Head("", is_number=False),
        Head("d_z", 5),
        Head("better/tied/worse", 4),
        Head("notes", 6, is_number=False),
    )
    rows = [(*_cells(one), "; ".join(notes.get(one.name, []))) for one in tests]
    return Grid(heads, tuple(rows), tuple(one.verdict for one in tests))


def _cells(one: BaselineTest) -> tuple[str, ...]:
    shares = "/".join(f"{100 * share:.0f}" for share in (one.wins, one.ties, one.losses))
    return (
        one.name,
        one.baseline,
        value_of(one.metric, one.score),
        value_of(one.metric, one.baseline_score),
        value_of(one.metric, one.difference, True),
        interval_text(one.metric, one.low, one.high),
        p_text(one.p_holm) if one.star_attainable else "none attainable",
        STAR if one.has_star else "",
        NOTHING if one.d_z is None else f"{one.d_z:+.2f}",
        shares,
    )


def effect_grid(found: Comparison) -> Grid:
    """Return main effects and interactions of a full factorial with their shares; no rows for anything else."""
    effects = found.findings.effects
    shares = {one.factors: one.share for one in found.findings.shares}
    has_runs = any(one.p_runs is not None for one in effects)
    heads = (
        Head(f"effect on {title_of(found.metric)}", is_number=False),
        Head("from → to", 3, is_number=False),
        Head("by"),
        Head("95% interval", 1),
        Head("Holm p", 1),
        Head("", is_number=False),
        *((Head("over runs", 2),) if has_runs else ()),
        Head("share", 2),
    )
    rows = []
    for one in effects:
        share = shares.get(one.factors, float("nan"))
        over_runs = NOTHING
        if one.run_low is not None and one.run_high is not None:
            over_runs = interval_text(found.metric, one.run_low, one.run_high)
        rows.append(
            (
                one.term.replace("_", " "),
                one.change,
                value_of(found.metric, one.effect, True),
                interval_text(found.metric, one.low, one.high),
                p_text(one.p_holm),
                STAR if one.is_clear else "",
                *((over_runs,) if has_runs else ()),
                NOTHING if share != share else f"{100 * share:.1f}%",
            )
        )
    return Grid(heads, tuple(rows), tuple("best" if one.is_clear else "" for one in effects))
