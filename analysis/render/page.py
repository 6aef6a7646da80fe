"""The page of a sweep: one file, without network, that opens with the answer.

It is made anew only when something that it shows has changed: `report/page.json` holds the checksum of its inputs, what
it said first, and the checksums of the page and of the files beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from analysis.comparison.comparison import Comparison
from analysis.findings.findings import Findings
from analysis.render.page_note import PageNote, read_note, write_note
from analysis.render.svg import Drawing
from trainables.config import digest
from trainables.records import atomic_files
from trainables.records.record import SweepFolder

FORMAT = 2
BY = "source_words"
ANALYSIS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Page:
    """A written page: `said` are its first sentences (the alarm, where there is one, before the answer).

    `others` are the files beside it: its behaviour panel as Markdown, and its figures as .svg and .png.
    """

    path: Path
    alarm: str
    said: tuple[str, ...]
    is_new: bool
    others: tuple[Path, ...] = ()


@dataclass(frozen=True)
class RenderedPage:
    """A page as text, its alarm (empty where there is none), its first sentences, and its figures."""

    text: str
    alarm: str
    said: list[str]
    drawings: list[Drawing]


@dataclass(frozen=True)
class ProvenanceLine:
    """A line of the provenance."""

    title: str
    text: str
    is_code: bool = False


def write(findings: Findings, by: str = BY) -> Page:
    """Write the page of a comparison, or leave it where nothing that it shows has changed.

    One of another evaluation or metric than the sweep's own has that in its name, and overwrites nothing.

    Raises:
        UserError: no example has the column `by`.
    """
    found = findings.comparison
    path, note = _paths(found)
    inputs = inputs_of(found)
    known = read_note(note)
    before = {path.with_name(name): checksum for name, checksum in known.files.items()}
    is_whole = bool(before) and all(one.exists() and atomic_files.sha256_of(one) == before[one] for one in before)
    if known.inputs == inputs and known.by == by and is_whole:
        return Page(path, known.alarm, known.said, False, tuple(one for one in before if one != path))
    made = render_page(findings, by)
    atomic_files.write_text(path, made.text)
    others = _write_others(findings, by, made.drawings)
    for one in set(before) - {path, *others}:
        one.unlink(missing_ok=True)  # a figure of what is no more
    checksums = {one.name: atomic_files.sha256_of(one) for one in (path, *others)}
    write_note(note, PageNote(inputs=inputs, by=by, alarm=made.alarm, said=tuple(made.said), files=checksums))
    return Page(path, made.alarm, tuple(made.said), True, tuple(others))


def _write_others(findings: Findings, by: str, drawings: Iterable[Drawing]) -> list[Path]:
    """Write what stands beside the page and return the paths."""
    from analysis.render.behaviour_tables import behaviour_to_markdown

    found = findings.comparison
    folder = SweepFolder(found.table.folder).report_folder
    paths = [folder / f"behaviour{found.ending}.md"]
    atomic_files.write_text(paths[0], behaviour_to_markdown(findings, by))
    for drawing in drawings:
        for ending, content in drawing.files().items():
            paths.append(folder / f"{drawing.name}{found.ending}{ending}")
            atomic_files.write_bytes(paths[-1], content)
    return paths


def known_alarm(found: Comparison) -> str:
    """Return the alarm of a page that shows this very state; empty where it raised none or there is no such page."""
    known = read_note(_paths(found)[1])
    return known.alarm if known.alarm and known.inputs == inputs_of(found) else ""


def alarm_of(findings: Findings) -> str:
    """Return the alarm of this very state: its page's where there is one, else that of the texts, all of them read."""
    from analysis.texts import plausibility

    found = findings.comparison
    known = read_note(_paths(found)[1])
    if known.inputs == inputs_of(found):
        return known.alarm
    return plausibility.alarm(plausibility.check(findings.panel))


def inputs_of(found: Comparison) -> str:
    """Return a digest of all that a page shows: records, examples, curves, and the code that shows them."""
    table, sweep = found.table, SweepFolder(found.table.folder)
    rows = []
    for row in table.rows:
        if row.record is None:
            continue
        curve = atomic_files.sha256_of(row.record.metrics_path) if row.record.metrics_path.exists() else ""
        checksums = row.summary.checksums if row.summary else None
        values = {name: str(value) for name, value in row.values.items()}
        rows.append([row.label, row.state, row.cause, values, checksums, curve])
    data = [
        atomic_files.sha256_of(path) if (path := sweep.evaluation_examples_path(split)).exists() else ""
        for split in table.evaluation.examples
    ]
    code = [atomic_files.sha256_of(path) for path in sorted(ANALYSIS.rglob("*")) if path.suffix in _CODE]
    return digest(
        [FORMAT, atomic_files.sha256_of(sweep.sweep_path), found.metric, found.ending, table.eval_id, rows, data, code]
    )


def render_page(findings: Findings, by: str = BY) -> RenderedPage:
    """Return the page with its figures."""
    from analysis.findings import learning
    from analysis.findings.answer import answer
    from analysis.render import figures, web_tables
    from analysis.render.panels import baseline_grid, effect_grid, more_grids
    from analysis.render.pareto_table import pareto_grid
    from analysis.render.search_figures import search_figures
    from analysis.render.search_panels import search_grids
    from analysis.render.templating import fill_template
    from analysis.texts import examples
    from analysis.texts import plausibility as alarms
    from analysis.texts.behaviour import by_group

    found, measured = findings.comparison, findings.panel
    outputs = measured.outputs
    checks = alarms.check(measured)
    alarm = alarms.alarm(checks)
    curves = learning.curves(found.table)
    verdicts = learning.verdicts(found.table, curves)
    chosen, unlike = findings.pair, findings.unlike
    forest, effects = figures.forest_figure(findings), figures.effect_figures(findings)
    curve, costs = figures.curve_figure(found, curves), figures.cost_figure(found, curves)
    said = [*([alarm] if alarm else []), *answer(findings)]
    kinds = {one.name: one.kind for one in outputs.systems}
    dagger = {"": "†"}
    grids = {
        "baselines": web_tables.from_grid(
            "baselines", "Every configuration minus its prompt-matched baseline", baseline_grid(findings), dagger
        ),
        "effects": web_tables.from_grid("effects-table", "Effects of the axes", effect_grid(findings), dagger),
    }
    more = [
        web_tables.from_grid(f"finding-{place}", caption, grid, {"": "note"})
        for place, (caption, grid) in enumerate(more_grids(findings))
    ]
    searched = search_figures(findings)
    search_tables = [
        web_tables.from_grid(f"search-{place}", caption, grid)
        for place, (caption, grid) in enumerate([("Pareto set", pareto_grid(found)), *search_grids(findings)])
        if grid.rows
    ]
    text = fill_template(
        "index.html",
        "sort.js",
        found=found,
        title=f"{found.table.experiment}: {found.table.model} on {found.table.data}",
        alarm=alarm,
        said=said,
        sentences=[one for one in _further(findings, learning.summary(verdicts), unlike) if one not in said],
        caution=_caution(findings),
        main=web_tables.main_table(found),
        more=web_tables.more_table(found),
        metrics=web_tables.metric_table(findings),
        grids=grids,
        findings=more,
        search_said=findings.search_sentences,
        search_tables=search_tables,
        search_figures=searched,
        forest=forest,
        effects=effects,
        behaviour=web_tables.panel_table(measured, found),
        measures=web_tables.MEASURES,
        groups=web_tables.group_table(by_group(outputs, by), kinds) if outputs.examples else None,
        notes=outputs.notes,
        read=examples.to_read(measured, *chosen) if chosen else [],
        failures=examples.failures(measured, *chosen) if chosen else [],
        chosen=chosen,
        curves=curve,
        verdicts=web_tables.verdict_table(verdicts),
        costs=costs,
        legend=_legend(found),
        provenance=provenance(found),
    )
    return RenderedPage(text, alarm, said, [one for one in (forest, *effects, *searched, curve, costs) if one])


def provenance(found: Comparison) -> list[ProvenanceLine]:
    """Return where everything came from: command, code, model, data, evaluation, scores, machine, packages."""
    sweep = SweepFolder(found.table.folder).manifest()
    origin, resolved = sweep.provenance, sweep.resolved
    entries = [
        ProvenanceLine("Command", sweep.command, True),
        ProvenanceLine("Code", origin.commit or "", True),
    ]
    for title, one in (("Model", resolved.model), ("Data", resolved.data)):
        text = ", ".join(part for part in (one.label, one.kind, one.revision) if part)
        entries.append(ProvenanceLine(title, f"{text}; fingerprint {one.fingerprint}" if one.fingerprint else text))
    sizes = ", ".join(f"{count} {split}" for split, count in found.table.evaluation.examples.items())
    entries.append(ProvenanceLine("Evaluation", f"{found.table.eval_id}: {sizes} examples"))
    entries += [ProvenanceLine("Scores", signature) for signature in found.table.signatures]
    machine = [origin.processor, f"{origin.cores} cores" if origin.cores else None, *origin.gpus]
    machine += [resolved.device, resolved.precision, origin.system]
    entries.append(ProvenanceLine("Machine", ", ".join(part for part in machine if part)))
    packages = {"python": origin.python, **origin.packages}
    entries.append(
        ProvenanceLine("Packages", ", ".join(f"{name} {version}" for name, version in packages.items() if version))
    )
    entries.append(ProvenanceLine("Started", origin.created_at or ""))
    return [entry for entry in entries if entry.text]


def _paths(found: Comparison) -> tuple[Path, Path]:
    """Return where the page is, and the note about it."""
    folder = SweepFolder(found.table.folder).report_folder
    return folder / f"index{found.ending}.html", folder / f"page{found.ending}.json"


def _further(findings: Findings, learned: str, unlike: list[str]) -> list[str]:
    """Return what else a reader should know; the choice itself has been said."""
    from analysis.findings import mixed_model

    crossed = mixed_model.sentence(findings.comparison, findings.mixed)
    aside = set(findings.search_sentences)  # they have a section of their own
    told = [one for one in findings.sentences if one not in aside]
    return [*findings.conclusions[1:], *told, *(one for one in (crossed, *unlike, learned) if one)]


def _caution(findings: Findings) -> str:
    from analysis.findings.effect_sentences import caution

    return caution(findings.effects) or ""


def _legend(found: Comparison) -> list[str]:
    from analysis.findings.pareto_sentences import pareto_title
    from analysis.render.terminal_tables import legend

    if found.front:
        return [f"★ {pareto_title(found)}", *legend(found)[1:]]
    return legend(found)[1:] if found.best else legend(found)


_CODE = (".py", ".html", ".css", ".js")
