"""A comparison as a LaTeX table with booktabs rules: bold only where separable, a dagger for Holm p < .05."""

from __future__ import annotations

import re

import numpy as np

from analysis.comparison.candidates import candidates, rank
from analysis.comparison.comparison import Comparison
from analysis.findings.findings import Findings
from analysis.findings.pareto_sentences import pareto_sentence
from analysis.format.cells import cell
from analysis.format.columns import AXIS_TITLES, Column
from analysis.records.table import ResultRow
from analysis.render.csv_tables import all_columns
from analysis.render.row_order import MOST_ROWS, shown_rows
from analysis.statistics.multiple_testing import ALPHA, CORRECTIONS
from analysis.statistics.paired import paired
from trainables.metric_table import LOSS
from trainables.scoring.metrics import score_names
from trainables.visible_text import visible_line

EMPTY_GROUP = "\0"  # between two hyphens, which would be printed as a dash; no visible text holds it
ESCAPES = {
    EMPTY_GROUP: "{}",
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
    "|": r"\textbar{}",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
}


def escaped(text: str) -> str:
    """Return text that LaTeX prints as it is."""
    line = re.sub("-(?=-)", f"-{EMPTY_GROUP}", visible_line(text))
    return "".join(ESCAPES.get(sign, sign) for sign in line)


def to_latex(findings: Findings) -> str:
    """Return the table of scores as LaTeX, to be included where the package booktabs is loaded."""
    found = findings.comparison
    table = found.table
    scores = (*score_names(table.evaluation.metrics), LOSS)
    columns = [column for column in all_columns(found) if column.name in scores and column.rank is not None]
    columns = [column for column in columns if any(_has(row, column) for row in table.rows)]
    axes = [axis for axis in table.axes if axis != "seed"]
    stars = {(one.name, one.metric) for one in findings.every_test if one.has_star}
    bold = {column.name: separable_best(found, column.name) for column in columns}
    configurations = table.of_kind("configuration")
    means = {
        column.name: {one.name: one.selection for one in candidates(configurations, table.split, column.name)}
        for column in columns
    }
    heads = ["", *(AXIS_TITLES.get(axis, axis.replace("_", " ")).replace("\n", " ") for axis in axes)]
    heads += [column.title.replace("\n", " ") for column in columns]
    lines = [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{l{'r' * len(axes)}{'r' * len(columns)}}}"]
    lines += [r"\toprule", f"{' & '.join(map(escaped, heads))} \\\\", r"\midrule"]
    kind = table.rows[0].kind if table.rows else ""
    for row in _once(found):
        if row.kind != kind:
            lines.append(r"\midrule")
            kind = row.kind
        cells = [_first(row.name), *(escaped(cell(row.values.get(axis), "text")) for axis in axes)]
        cells += [_score(row, column, means[column.name], bold[column.name], stars) for column in columns]
        lines.append(f"{' & '.join(cells)} \\\\")
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{_caption(findings)}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def separable_best(found: Comparison, metric: str) -> str | None:
    """Return the configuration that is best by a metric where the examples separate it from every other, else None.

    It is looked up on the very examples that judge it, so each difference is corrected for all pairs of configurations.
    """
    table = found.table
    ranking = rank(candidates(table.of_kind("configuration"), table.split, metric), metric)
    if len(ranking) < 2:
        return None
    pairs = len(ranking) * (len(ranking) - 1) / 2
    scores = found.scores[table.split]
    for other in ranking[1:]:
        first, second = scores.paired(ranking[0].rows, other.rows, metric)
        differences = (first - second)[~np.isnan(first)]
        one = paired(differences.tolist())
        if one is None or one.n < 2 or one.p * pairs >= ALPHA:
            return None
    return ranking[0].name


def _first(name: str) -> str:
    """Return what a line begins with; a bracket or a star would be an option of the line's end before it."""
    text = escaped(name)
    return f"{{}}{text}" if text.startswith(("[", "*")) else text


def _has(row: ResultRow, column: Column) -> bool:
    return row.values.get(column.name) is not None


def _once(found: Comparison) -> list[ResultRow]:
    """Return the rows, a configuration of several seeds once; of a search the best."""
    seen: dict[str, ResultRow] = {}
    for row in shown_rows(found, MOST_ROWS).rows:
        seen.setdefault(f"{row.kind} {row.name}", row)
    return list(seen.values())


def _score(
    row: ResultRow, column: Column, means: dict[str, float], bold: str | None, stars: set[tuple[str, str]]
) -> str:
    """Write a score: that of a configuration is the mean over its seeds."""
    if row.kind != "configuration":
        return escaped(cell(row.values.get(column.name), column.style))
    text = escaped(cell(means.get(row.name), column.style))
    text = rf"\textbf{{{text}}}" if bold == row.name else text
    return rf"{text}$^\dagger$" if (row.name, column.name) in stars else text


def _caption(findings: Findings) -> str:
    found, tests = findings.comparison, findings.tests
    table = found.table
    size = table.evaluation.examples[table.split]
    family = f", {CORRECTIONS[found.correction]} over {len(tests)}" if len(tests) > 1 else ""
    parts = [f"{table.experiment}: {table.model} on {table.data}, {size} {table.split} examples."]
    if table.banner:
        parts.insert(0, table.banner + ".")
    if found.front:
        parts.append(pareto_sentence(found))
    if left_out := shown_rows(found, MOST_ROWS).left_out:
        parts.append(f"The best first; {left_out} more configurations are left out.")
    if tests and tests[0].star_attainable:
        parts.append(f"† differs from the untrained model with the same prompt (sign-flip test, p < .05{family}).")
    elif tests:
        parts.append("With so few examples no difference from the untrained model could have been significant.")
    parts.append("Bold only where a configuration is separable from every other (paired t, p < .05 over all pairs).")
    parts.append("Loss: lower is better.")
    parts += [f"Scores: {one}." for one in table.signatures]
    return escaped(" ".join(parts)).replace("†", r"$\dagger$")
