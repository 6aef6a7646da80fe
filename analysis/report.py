"""Print a sweep's comparison and write it to `report/`: `python -m analysis.report RUN_DIR`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from analysis import command
from analysis.comparison.comparison import Comparison, compare
from analysis.findings.findings import Findings
from analysis.format.terminal import Console, print_json, results
from analysis.records import reference_rows
from analysis.render import behaviour_tables, csv_tables, latex, markdown, page, terminal_tables
from analysis.statistics.multiple_testing import CORRECTIONS, EQUIVALENCE_MARGIN
from trainables.errors import UserError, cannot_write, nearest
from trainables.records import atomic_files
from trainables.records.record import SweepFolder

MARGIN_POINTS = 100 * EQUIVALENCE_MARGIN


def write(folder: Path, metric: str | None = None, eval_id: str | None = None) -> list[Path]:
    """Write comparison.md, .tex and .csv, comparison-tests.csv and comparison-without-timing.csv; return their paths.

    Raises:
        UserError: no sweep there, no such evaluation, or an unknown metric.
    """
    return write_comparison(Findings(compare(folder, metric, eval_id)))


def write_comparison(findings: Findings, alarm: str | None = None) -> list[Path]:
    """Write a comparison to its sweep's report folder.

    One of another evaluation, metric, correction or margin than usual has that in its name, and overwrites nothing.
    What comes first is `alarm`, or without it that of a page of this state: write the page before.
    """
    found = findings.comparison
    table = found.table
    folder = SweepFolder(table.folder).report_folder
    name = f"comparison{found.ending}"
    texts = {
        folder / f"{name}.md": markdown.to_markdown(findings, page.known_alarm(found) if alarm is None else alarm),
        folder / f"{name}.tex": latex.to_latex(findings),
        folder / f"{name}.csv": csv_tables.to_csv(found),
        folder / f"{name}-tests.csv": csv_tables.tests_to_csv(findings),
        folder / f"{name}-without-timing.csv": csv_tables.to_csv(found, timing=False),
    }
    for path, text in texts.items():
        if not path.exists() or path.read_bytes() != text.encode():
            atomic_files.write_text(path, text)
    reference_rows.keep_scores(table, found.references)
    return list(texts)


def write_page(
    folder: Path,
    metric: str | None = None,
    eval_id: str | None = None,
    by: str = page.BY,
    findings: Findings | None = None,
) -> page.Page:
    """Write `report/index.html` where anything that it shows has changed since, and return what it says first.

    Args:
        by: column whose quartiles or values the scores are shown by.
        findings: those of the comparison, where it has been made already.

    Raises:
        UserError: no sweep there, no such evaluation, an unknown metric, or no example has the column `by`.
    """
    return page.write(findings or Findings(compare(folder, metric, eval_id)), by)


def print_table(console: Console, folder: Path, metric: str | None = None, eval_id: str | None = None) -> Comparison:
    """Print the comparison of a sweep and return it.

    Raises:
        UserError: no sweep there, no such evaluation, or an unknown metric.
    """
    found = compare(folder, metric, eval_id)
    terminal_tables.to_terminal(console, Findings(found))
    return found


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="folder of a sweep, or its name under runs/")],
    metric: Annotated[str | None, typer.Option(help="score that decides; default: the sweep's own")] = None,
    evaluation: Annotated[str | None, typer.Option("--eval", help="identity of another evaluation")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON in place of tables")] = False,
    with_page: Annotated[bool, typer.Option("--page/--no-page", help="write report/index.html")] = True,
    by: Annotated[str, typer.Option(help="column of the data for scores by group; or source_words, turns")] = page.BY,
    with_behaviour: Annotated[bool, typer.Option("--behaviour", help="print how the texts are made")] = False,
    margin: Annotated[float, typer.Option(help="points within which two systems are equivalent")] = MARGIN_POINTS,
    correction: Annotated[str, typer.Option(help="of differences from baselines: holm, maxt or bh")] = "holm",
    annotate: Annotated[int, typer.Option(metavar="N", help="write a blinded rating sheet of N examples")] = 0,
    systems: Annotated[str, typer.Option(help="the two to rate: A,B; default: the best and its baseline")] = "",
    ratings: Annotated[list[Path] | None, typer.Option(help="a filled sheet, one per rater")] = None,
) -> None:
    """Print the comparison table of a sweep and write it, with its page, to its report folder."""
    try:
        _check_rule(margin, correction)
        run = command.sweep_folder(run)
        found = replace(compare(run, metric, evaluation), margin=margin / 100, correction=correction)
        if annotate or ratings:
            _rate(found, annotate, systems, ratings or [])
            return
        findings = Findings(found)
        written = write_page(run, by=by, findings=findings) if with_page else None
        alarm = page.alarm_of(findings)
        paths = write_comparison(findings, alarm)
    except OSError as error:
        raise cannot_write(SweepFolder(run).report_folder, error) from None
    if as_json:
        from analysis.render import json_report  # its types take 60 ms

        document = {"alarm": alarm or None, **json_report.report_of(findings).document()}
        print_json(document)
        return
    console = results()
    terminal_tables.to_terminal(console, findings, alarm)
    if with_behaviour:
        behaviour_tables.print_behaviour(console, findings, by)
    paths += [written.path, *written.others] if written else []
    console.print(f"Written to {paths[0].parent}: {', '.join(path.name for path in paths)}", soft_wrap=True)


def _check_rule(margin: float, correction: str) -> None:
    if correction not in CORRECTIONS:
        raise UserError(f"--correction {correction!r} is unknown; {nearest(correction, CORRECTIONS)}")
    if not 0 < margin < 100:
        raise UserError(f"--margin must be above 0 and below 100 points, got {margin:g}")


def _rate(found: Comparison, count: int, systems: str, ratings: list[Path]) -> None:
    """Write a rating sheet of `count` examples, or say what filled sheets say."""
    from analysis.rating import annotate

    folder = SweepFolder(found.table.folder).report_folder
    if ratings:
        results().print(annotate.read_ratings(ratings, folder).sentence, soft_wrap=True)
    if count:
        *sheets, key = annotate.write_sheet(annotate.sheet_of(found, systems, count), folder)
        results().print(f"To fill in, a copy per rater: {', '.join(map(str, sheets))}", soft_wrap=True)
        results().print(f"Not for raters: {key}", soft_wrap=True)


def main() -> None:
    command.run(report)


if __name__ == "__main__":
    main()
