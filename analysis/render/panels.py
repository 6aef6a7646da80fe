"""The tables of findings as grids of text: against baselines, effects of the axes, the choice and what it hangs on."""

from __future__ import annotations

from analysis.findings.baselines import STAR, BaselineTest
from analysis.findings.findings import Findings
from analysis.findings.searches.points import is_search
from analysis.findings.sentences import title_of, value_of
from analysis.format.cells import NOTHING, cell, points
from analysis.records.settled import SettledRace
from analysis.render.text_grids import Head, TextGrid
from analysis.statistics.factorial import level_text
from analysis.statistics.multiple_testing import CORRECTIONS

MOST_CHOSEN = 24  # configurations by how often they would be chosen


def p_text(p: float | None) -> str:
    """Write a p: '0.031', '< 0.001', a dash for none."""
    if p is None or p != p:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def interval_text(metric: str, low: float, high: float) -> str:
    """Write an interval of differences: '[-0.80, +1.42]'."""
    return f"[{value_of(metric, low, True)}, {value_of(metric, high, True)}]"


def baseline_grid(findings: Findings) -> TextGrid:
    """Return each configuration minus its prompt-matched baseline by the deciding metric, with its notes."""
    found = findings.comparison
    tests, notes = findings.tests, findings.notes
    if is_search(found):  # the best first, as in its table
        place = {one.name: rank for rank, one in enumerate(found.ranking)}
        tests = tuple(sorted(tests, key=lambda one: place.get(one.name, len(place))))
    has_runs = any(one.runs > 1 for one in tests)
    correction = CORRECTIONS[found.correction]
    heads = (
        Head("name", is_number=False),
        Head("against", 2, is_number=False),
        Head(title_of(found.metric), 3),
        Head("it", 3),
        Head("difference"),
        Head("95% interval", 1),
        Head(f"{correction} p", 1, about=f"{correction} p: of random signs{_family(len(tests), 'comparisons')}"),
        Head("", is_number=False, about=f"{STAR}: that p is below 0.05"),
        *((Head("runs", 4), Head("over runs", 2)) if has_runs else ()),
        Head("d_z", 5, about="d_z: mean over SD of the differences per example"),
        Head("better/tied/worse", 4, about="better/tied/worse: % of examples"),
        Head("notes", 6, is_number=False),
    )
    rows = [(*_cells(one, has_runs), "; ".join(notes.get(one.name, []))) for one in tests]
    return TextGrid(heads, tuple(rows), tuple(one.verdict for one in tests))


def _cells(one: BaselineTest, has_runs: bool) -> tuple[str, ...]:
    shares = "/".join(f"{100 * share:.0f}" for share in (one.wins, one.ties, one.losses))
    return (
        one.name,
        one.baseline,
        value_of(one.metric, one.score),
        value_of(one.metric, one.baseline_score),
        value_of(one.metric, one.difference, True),
        interval_text(one.metric, one.low, one.high) if one.has_interval else NOTHING,
        NOTHING if one.is_same else p_text(one.p_corrected) if one.star_attainable else "none attainable",
        STAR if one.has_star else "",
        *((str(one.runs), _over_runs(one.metric, one.run_low, one.run_high)) if has_runs else ()),
        NOTHING if one.d_z is None else f"{one.d_z:+.2f}",
        shares,
    )


def _over_runs(metric: str, low: float | None, high: float | None) -> str:
    return NOTHING if low is None or high is None else interval_text(metric, low, high)


def _family(count: int, of: str) -> str:
    return f", corrected for {count} {of}" if count > 1 else ""


def effect_grid(findings: Findings) -> TextGrid:
    """Return main effects and interactions of a full factorial with their shares; no rows for anything else."""
    found = findings.comparison
    effects = findings.effects
    shares = {one.factors: one.share for one in findings.shares}
    has_runs = any(one.p_runs is not None for one in effects)
    heads = (
        Head(f"effect on {title_of(found.metric)}", is_number=False),
        Head("from → to", 3, is_number=False),
        Head("by"),
        Head("95% interval", 1),
        Head("Holm p", 1, about=f"Holm p: of t over examples{_family(len(effects), 'effects')}"),
        Head("", is_number=False, about=f"{STAR}: that p is below 0.05"),
        *((Head("over runs", 2),) if has_runs else ()),
        Head("share", 2, about="share: of the sum of squares between configurations"),
    )
    rows = []
    for one in effects:
        share = shares.get(one.factors, float("nan"))
        over_runs = _over_runs(found.metric, one.run_low, one.run_high)
        rows.append(
            (
                one.term.replace("_", " "),
                one.change,
                value_of(found.metric, one.effect, True),
                interval_text(found.metric, one.low, one.high) if one.has_interval else NOTHING,
                p_text(one.p_holm) if one.is_attainable else "none attainable",
                STAR if one.is_clear else "",
                *((over_runs,) if has_runs else ()),
                NOTHING if share != share else f"{100 * share:.1f}%",
            )
        )
    return TextGrid(heads, tuple(rows), tuple("best" if one.is_clear else "" for one in effects))


def more_grids(findings: Findings) -> list[tuple[str, TextGrid]]:
    """Return what there is no room for on a terminal, as (title, grid), those with rows alone."""
    named = [
        ("The race: who left at which look", race_grid(findings.comparison.table.race)),
        ("How far the choice holds, and what is cheaper", choice_grid(findings)),
        ("Best for each value of an axis", level_grid(findings)),
        ("What another metric would choose", metric_grid(findings)),
        ("Trends along ordered axes", trend_grid(findings)),
    ]
    return [(title, grid) for title, grid in named if grid.rows]


def race_grid(settled: SettledRace | None) -> TextGrid:
    """Return the looks of a race: on how many examples of how many configurations, who led, who left and came back."""
    heads = (
        Head("examples"),
        Head("configurations"),
        Head("leads", is_number=False),
        Head("leave", is_number=False),
        Head("come back", is_number=False),
        Head("settled within"),
    )
    rows = []
    for look in settled.race.looks if settled else ():
        moved = (", ".join(look.left) or NOTHING, ", ".join(look.back) or NOTHING)
        rows.append((str(look.examples), str(len(look.scored)), look.best, *moved, points(look.settled)))
    return TextGrid(heads, tuple(rows), ("",) * len(rows))


def choice_grid(findings: Findings) -> TextGrid:
    """Return how often each configuration would be chosen, and what those near the best cost; not of few examples."""
    found = findings.comparison
    won = findings.winner
    split, metric = found.table.selection_split, title_of(found.metric)
    heads = (
        Head("name", is_number=False),
        Head(f"{split} {metric}"),
        Head("best in resamples"),
        Head("minus the best"),
        Head("rank"),
        Head("memory"),
        Head("time"),
        Head("", is_number=False),
    )
    if won is None or not won.is_weighed:
        return TextGrid(heads, (), ())
    costs = {one.name: one for one in won.affordable}
    rows = []
    for row in sorted(won.frequencies, key=lambda row: (row.name not in costs, -row.share))[:MOST_CHOSEN]:
        mark = f"optimistic: worth {value_of(won.metric, won.estimate)}" if row.name == won.name else ""
        cells = [NOTHING] * 4
        if cost := costs.get(row.name):
            error = f" ± {value_of(won.metric, cost.standard_error)}" if row.name != won.name else ""
            cells = [f"{value_of(won.metric, cost.difference, True)}{error}" if error else NOTHING]
            cells += [str(cost.lora_rank), cell(cost.peak_memory_bytes, "bytes"), cell(cost.wall_s, "duration")]
        if won.cheapest and row.name == won.cheapest.name:
            mark = "; ".join([*([mark] if mark else []), "cheapest within one standard error"])
        rows.append((row.name, value_of(won.metric, row.selection), f"{100 * row.share:.0f}%", *cells, mark))
    return TextGrid(heads, tuple(rows), tuple("best" if row[0] == won.name else "" for row in rows))


def level_grid(findings: Findings) -> TextGrid:
    """Return the best configuration for each value of each axis."""
    found = findings.comparison
    metric = f"{found.table.selection_split} {title_of(found.metric)}"
    heads = (
        Head("axis", is_number=False),
        Head("value", is_number=False),
        Head("best", is_number=False),
        Head(metric),
        Head("mean of all"),
        Head("of"),
    )
    rows = tuple(
        (
            one.axis.replace("_", " "),
            level_text(one.level),
            one.best,
            value_of(found.metric, one.selection),
            value_of(found.metric, one.mean),
            str(one.configurations),
        )
        for one in findings.levels
    )
    return TextGrid(heads, rows, ("",) * len(rows))


def metric_grid(findings: Findings) -> TextGrid:
    """Return whom each metric would choose, and how it ranks the configurations beside the deciding one."""
    found = findings.comparison
    heads = (Head("metric", is_number=False), Head("chooses", is_number=False), Head("rank correlation"))
    rows = tuple(
        (
            title_of(one.second),
            one.second_winner,
            f"{one.spearman:+.2f}" if one.spearman == one.spearman else "not defined",
        )
        for one in findings.agreement
        if one.first == found.metric
    )
    return TextGrid(heads, rows, ("",) * len(rows))


def trend_grid(findings: Findings) -> TextGrid:
    """Return the slope along each axis of three values or more."""
    found = findings.comparison
    heads = (
        Head("axis", is_number=False),
        Head("slope"),
        Head("per", is_number=False),
        Head("95% interval"),
        Head("p"),
        Head("means", is_number=False),
    )
    rows = []
    is_stated = all(one.is_attainable for one in findings.effects)  # the examples are the same
    for one in findings.trends:
        if len(one.levels) > 2:
            means = ", ".join(f"{level_text(at.level)}: {value_of(found.metric, at.mean)}" for at in one.levels)
            slope, interval = value_of(found.metric, one.slope, True), interval_text(found.metric, one.low, one.high)
            unit = "doubling" if one.is_log else "unit"
            known = (interval, p_text(one.p)) if is_stated else (NOTHING, NOTHING)
            rows.append((one.axis.replace("_", " "), slope, unit, *known, means))
    return TextGrid(heads, tuple(rows), ("",) * len(rows))
