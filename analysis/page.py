"""The page of a sweep: one file, without network, that opens with the answer.

It is made anew only when something that it shows has changed: `report/page.json` holds the checksum of its inputs, what
it said first, and the checksum of the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from analysis.compare import Comparison
from trainables import files
from trainables.config import digest
from trainables.record import SweepFolder

FORMAT = 1
BY = "source_words"


@dataclass(frozen=True)
class Page:
    """A written page: `said` are its first sentences (the alarm, where there is one, before the answer)."""

    path: Path
    alarm: str
    said: tuple[str, ...]
    is_new: bool


@dataclass(frozen=True)
class Entry:
    """A line of the provenance."""

    title: str
    text: str
    is_code: bool = False


def write(found: Comparison, by: str = BY) -> Page:
    """Write the page of a comparison, or leave it where nothing that it shows has changed.

    One of another evaluation or metric than the sweep's own has that in its name, and overwrites nothing.

    Raises:
        UserError: no example has the column `by`.
    """
    path, note = _paths(found)
    inputs = inputs_of(found)
    known = files.read_json_or_set_aside(note) or {}
    is_whole = path.exists() and files.sha256_of(path) == known.get("page")
    if known.get("inputs") == inputs and known.get("by") == by and is_whole:
        return Page(path, known["alarm"], tuple(known["said"]), False)
    text, alarm, said = render(found, by)
    files.write_text(path, text)
    checksum = files.sha256_of(path)
    files.write_json(note, {"inputs": inputs, "by": by, "alarm": alarm, "said": said, "page": checksum})
    return Page(path, alarm, tuple(said), True)


def known_alarm(found: Comparison) -> str:
    """Return the alarm of a page that shows this very state; empty where it raised none or there is no such page."""
    known = files.read_json_or_set_aside(_paths(found)[1]) or {}
    return str(known["alarm"]) if known.get("alarm") and known.get("inputs") == inputs_of(found) else ""


def inputs_of(found: Comparison) -> str:
    """Return a digest of all that a page shows: records, examples, curves, and the code that shows them."""
    table, sweep = found.table, SweepFolder(found.table.folder)
    rows = []
    for row in table.rows:
        if row.record is None:
            continue
        curve = files.sha256_of(row.record.metrics_path) if row.record.metrics_path.exists() else ""
        checksums = (row.summary or {}).get("checksums")
        values = {name: str(value) for name, value in row.values.items()}
        rows.append([row.label, row.state, row.cause, values, checksums, curve])
    data = [
        files.sha256_of(path) if (path := sweep.evaluation_examples_path(split)).exists() else ""
        for split in table.evaluation.examples
    ]
    code = [files.sha256_of(path) for path in sorted(Path(__file__).parent.rglob("*")) if path.suffix in _CODE]
    return digest(
        [FORMAT, files.sha256_of(sweep.sweep_path), found.metric, found.ending, table.eval_id, rows, data, code]
    )


def render(found: Comparison, by: str = BY) -> tuple[str, str, list[str]]:
    """Return the page as text, the alarm (empty where there is none), and its first sentences."""
    from analysis import alarm as alarms
    from analysis import behaviour, examples, figures, learning, webtables
    from analysis.answer import answer
    from analysis.behaviour import by_group, panel
    from analysis.outputs import collect
    from analysis.panels import baseline_grid, effect_grid, more_grids
    from analysis.templating import render as fill

    outputs = collect(found)
    measured = panel(outputs)
    checks = alarms.check(measured)
    alarm = alarms.alarm(checks)
    curves = learning.curves(found.table)
    verdicts = learning.verdicts(found.table, curves)
    chosen = examples.pair(found, measured)
    unlike = behaviour.sentences(measured, *(one.name for one in chosen if one)) if chosen else []
    said = [*([alarm] if alarm else []), *answer(found)]
    kinds = {one.name: one.kind for one in outputs.systems}
    dagger = {"": "†"}
    grids = {
        "baselines": webtables.from_grid(
            "baselines", "Every configuration minus its prompt-matched baseline", baseline_grid(found), dagger
        ),
        "effects": webtables.from_grid("effects-table", "Effects of the axes", effect_grid(found), dagger),
    }
    more = [
        webtables.from_grid(f"finding-{place}", caption, grid, {"": "note"})
        for place, (caption, grid) in enumerate(more_grids(found))
    ]
    text = fill(
        "index.html",
        "sort.js",
        found=found,
        title=f"{found.table.experiment}: {found.table.model} on {found.table.data}",
        alarm=alarm,
        said=said,
        sentences=[one for one in _further(found, learning.summary(verdicts), unlike) if one not in said],
        caution=_caution(found),
        main=webtables.main_table(found),
        more=webtables.more_table(found),
        metrics=webtables.metric_table(found),
        grids=grids,
        findings=more,
        forest=figures.forest_figure(found),
        effects=figures.effect_figures(found),
        behaviour=webtables.panel_table(measured, found),
        measures=webtables.MEASURES,
        groups=webtables.group_table(by_group(outputs, by), kinds) if outputs.examples else None,
        notes=outputs.notes,
        read=examples.to_read(measured, *chosen) if chosen else [],
        failures=examples.failures(measured, *chosen) if chosen else [],
        chosen=chosen,
        curves=figures.curve_figure(found, curves),
        verdicts=webtables.verdict_table(verdicts),
        costs=figures.cost_figure(found, curves),
        legend=_legend(found),
        provenance=provenance(found),
    )
    return text, alarm, said


def provenance(found: Comparison) -> list[Entry]:
    """Return where everything came from: command, code, model, data, evaluation, scores, machine, packages."""
    sweep = SweepFolder(found.table.folder).sweep()
    origin = sweep.get("provenance") or {}
    resolved = sweep.get("resolved") or {}
    entries = [
        Entry("Command", str(sweep.get("command") or ""), True),
        Entry("Code", str(origin.get("commit") or ""), True),
    ]
    for kind in ("model", "data"):
        one = resolved.get(kind) or {}
        parts = [one.get("label"), one.get("kind"), one.get("revision")]
        text = ", ".join(str(part) for part in parts if part)
        fingerprint = one.get("fingerprint")
        entries.append(Entry(kind.capitalize(), f"{text}; fingerprint {fingerprint}" if fingerprint else text))
    sizes = ", ".join(f"{count} {split}" for split, count in found.table.evaluation.examples.items())
    entries.append(Entry("Evaluation", f"{found.table.eval_id}: {sizes} examples"))
    entries += [Entry("Scores", signature) for signature in found.table.signatures]
    machine = [origin.get("processor"), f"{origin['cores']} cores" if origin.get("cores") else None]
    machine += [str(gpu) for gpu in origin.get("gpus") or []]
    machine += [resolved.get("device"), resolved.get("precision"), origin.get("system")]
    entries.append(Entry("Machine", ", ".join(str(part) for part in machine if part)))
    packages = {"python": origin.get("python"), **(origin.get("packages") or {})}
    entries.append(Entry("Packages", ", ".join(f"{name} {version}" for name, version in packages.items() if version)))
    entries.append(Entry("Started", str(origin.get("created_at") or "")))
    return [entry for entry in entries if entry.text]


def _paths(found: Comparison) -> tuple[Path, Path]:
    """Return where the page is, and the note about it."""
    folder = SweepFolder(found.table.folder).report_folder
    return folder / f"index{found.ending}.html", folder / f"page{found.ending}.json"


def _further(found: Comparison, learned: str, unlike: list[str]) -> list[str]:
    """Return what else a reader should know; the choice itself has been said."""
    from analysis import mixed

    crossed = mixed.sentence(found, found.findings.mixed)
    return [*found.sentences[1:], *found.findings.sentences, *(one for one in (crossed, *unlike, learned) if one)]


def _caution(found: Comparison) -> str:
    from analysis.effects import caution

    return caution(found.findings.effects) or ""


def _legend(found: Comparison) -> list[str]:
    from analysis.render import legend

    return legend(found)[1:] if found.best else legend(found)


_CODE = (".py", ".html", ".css", ".js")
