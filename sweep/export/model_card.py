"""The model card of an exported adapter: what it is, how it was chosen, and how far the numbers hold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.findings.pareto_sentences import pareto_title
from analysis.findings.sentences import conclusions, title_of, value_of
from analysis.render.markdown import code, escaped, pipes, yaml
from analysis.render.text_grids import difference_grid
from trainables.config import Decoding, EvalConfig, TrainConfig
from trainables.data.sources import MODEL_IDS
from trainables.metric_table import METRICS
from trainables.records.lineage import sentence

if TYPE_CHECKING:
    from analysis.comparison.comparison import Comparison
    from analysis.records.table import ResultRow
    from trainables.records.manifest import DataEntry, ModelEntry, SweepManifest, SweepOrigin

TEMPLATES = Path(__file__).parent / "templates"


def model_card(found: Comparison, trial: ResultRow, sweep: SweepManifest) -> str:
    """Return the card of `trial`, the best of `found`, as Markdown with a YAML head."""
    table, train = found.table, trial.train
    assert train is not None
    sizes = table.evaluation.examples
    model, data = sweep.resolved.model, sweep.resolved.data
    place = f"first of {len(found.tied) + 1} that tie as best" if found.tied else "best"
    rank = f"{place} of {len(found.ranking)} configurations by {title_of(found.metric)} on {table.selection_split}"
    return _rendered(
        "card.md.jinja",
        base_model=base_name(model),
        usage=usage(train, table.evaluation, _base_folder(model), is_bundled=model.kind == "bundled"),
        title=f"{table.experiment}: {train.model} on {table.data}",
        data=table.data,
        name=trial.name,
        experiment=table.experiment,
        seed=train.seed,
        banner=table.banner,
        choice=_of_several(found, trial)
        if found.front
        else f"It is the {rank}; the scores below on {table.split} played no part in the choice."
        if len(sizes) > 1
        else f"It is the {rank}, which is also what is reported.",
        sentences=conclusions(found),
        n_validation=sizes.get("validation", 0),
        n_test=sizes.get("test", 0),
        scores=[_score(trial, name) for name in _scores(found) if trial.mean(table.split, name) is not None],
        differences=pipes(difference_grid(found)) if found.differences else "",
        signature="; ".join(table.signatures),
        tokenized_in_parts=train.tokenization == "parts",
        decoding=_decoding(table.evaluation.decoding.model_dump()),
        max_new_tokens=table.evaluation.max_new_tokens,
        settings=[f"| {escaped(name)} | {_cell(value)} |" for name, value in _settings(trial).items()],
        versions=_made_with(sweep.provenance, model, data),
    )


def _of_several(found: Comparison, trial: ResultRow) -> str:
    """Say how a configuration stands where several objectives leave no single best."""
    is_kept = any(trial in one.rows for one in found.front)
    place = f"one of {len(found.front)}" if is_kept else "not"
    return f"Exported by name: of {len(found.ranking)} configurations it is {place} {pareto_title(found)}."


def _rendered(template: str, **values: Any) -> str:
    """Return a template with its values; what comes from data is escaped for its place there, by a filter."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "escaped": escaped, "yaml": yaml}
    return environment.get_template(template).render(values)


def _settings(trial: ResultRow) -> dict[str, Any]:
    """Return every field as the trial began with it, and what was changed in training, in order."""
    assert trial.train is not None
    changes = trial.record.lineage() if trial.record is not None else []
    return {**trial.train.model_dump(), **{f"change {line['number']}": sentence(line) for line in changes}}


def base_name(model: ModelEntry) -> str:
    """Return the base model's name on the hub, or its label where it did not come from there."""
    return str(MODEL_IDS.get(model.label, (model.label,))[0])


def _base_folder(model: ModelEntry) -> str:
    if model.kind == "bundled":
        return "str(model_folder())"
    return repr(base_name(model) if model.kind != "local" else f"PATH/OF/{model.label}")


def _scores(found: Comparison) -> list[str]:
    """Return the scores that the card tells, what chose among them."""
    names = [one.name for one in METRICS if one.on_card]
    return names if found.metric in names else [*names, found.metric]


def _score(trial: ResultRow, name: str) -> str:
    values = [trial.mean(split, name) for split in ("validation", "test")]
    return f"| {title_of(name)} | {' | '.join('–' if v is None else value_of(name, v) for v in values)} |"


def usage(train: TrainConfig, evaluation: EvalConfig, base_folder: str, is_bundled: bool = False) -> str:
    """Return a program that writes the summary of TEXT in plain transformers and PEFT, as the sweep wrote it."""
    return _rendered(
        "usage.py.jinja",
        is_bundled=is_bundled,
        base_folder=base_folder,
        prompt=repr(train.prompt_template),
        max_length_tokens=train.max_length_tokens,
        max_new_tokens=evaluation.max_new_tokens,
        how=_arguments(evaluation.decoding),
    )


def _arguments(decoding: Decoding) -> str:
    """Return how `generate` is to decode; a folder's generation_config.json must not decide it."""
    if decoding.strategy == "greedy":
        chosen: dict[str, Any] = {"do_sample": False, "num_beams": 1}
    elif decoding.strategy == "beam":
        chosen = {"do_sample": False, "num_beams": decoding.num_beams}
    else:
        names = ("temperature", "top_k", "top_p")
        chosen = {"do_sample": True, **{name: getattr(decoding, name) for name in names}}
    chosen["repetition_penalty"] = decoding.repetition_penalty
    return ", ".join(f"{name}={value}" for name, value in chosen.items())


def _decoding(decoding: dict[str, Any]) -> str:
    strategy = decoding.pop("strategy")
    if strategy == "greedy":
        return "greedy decoding"
    return f"{strategy} decoding ({', '.join(f'{name} {value}' for name, value in decoding.items())})"


def _cell(value: Any) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return code(text, in_cell=True)


def _made_with(origin: SweepOrigin, model: ModelEntry, data: DataEntry) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in origin.packages.items() if version)
    hardware = ", ".join(origin.gpus) or f"{origin.processor}, {origin.cores} cores"
    return [
        f"- base: {escaped(model.label)} ({model.kind}, revision {model.revision or 'none'}, "
        f"fingerprint {(model.fingerprint or '')[:16]})",
        f"- data: {escaped(data.label)} ({data.kind}, fingerprint {(data.fingerprint or '')[:16]})",
        f"- code: {origin.commit or 'an installed package'}",
        f"- hardware: {escaped(hardware)}",
        f"- packages: {packages}; Python {origin.python}",
    ]
