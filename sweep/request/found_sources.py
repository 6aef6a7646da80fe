"""Which model and data a sweep stands on: resolved once, named in its records, never switched later (no torch)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search_spaces.experiment import Experiment
from search_spaces.grid import Grid, with_axes
from search_spaces.search_changes import with_spreads
from search_spaces.spreads import Spread
from sweep.request import estimates
from sweep.request.overrides import Request
from trainables.config import TrainConfig, configured
from trainables.data import sources
from trainables.data.configurations import parted
from trainables.errors import UserError
from trainables.model_files.fingerprint import SCHEME
from trainables.records.manifest import DataEntry, ModelEntry, SourceEntry, SweepSources
from trainables.startup_progress import stage
from trainables.tokenization import end_checks
from trainables.tokenization.encoder import load_encoder


@dataclass(frozen=True)
class FoundSource:
    """A model or data set as found: `requested` is what the user called it, `place` where it is on this machine."""

    requested: str
    label: str
    kind: str
    place: str
    revision: str | None
    fingerprint: str | None = None  # of a data set: known once it has been read
    configuration: str | None = None  # of a data set: one of several
    fingerprint_scheme: int | None = None  # of a model: what its fingerprint covers
    own_code: bool = False  # of a model: it runs Python files of its folder, which its fingerprint covers

    @property
    def stood_in(self) -> bool:
        return self.kind == "bundled" and self.requested != self.label

    def model_entry(self) -> ModelEntry:
        """Return what sweep.json keeps of a model: nothing of this machine."""
        code = {"own_code": True} if self.own_code else {}
        return ModelEntry.model_validate({**self._found(), "fingerprint_scheme": self.fingerprint_scheme, **code})

    def data_entry(self, **read: Any) -> DataEntry:
        """Return what sweep.json keeps of a data set, with what was found when it was read."""
        return DataEntry.model_validate({**self._found(), **read})

    def _found(self) -> dict[str, Any]:
        keys = ("requested", "label", "kind", "revision", "fingerprint", "stood_in")
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True)
class FoundSources:
    """The models of a sweep, in the order of their first use, and its data set."""

    models: tuple[FoundSource, ...]
    data: FoundSource
    target_modules: tuple[str, ...] | None = (
        None  # in place of the experiment's, which the user's model calls otherwise
    )

    @property
    def found(self) -> bool:
        return all(base.place for base in self.models)

    @property
    def model_folders(self) -> dict[str, str]:
        return {model.label: model.place for model in self.models}


def folders(bases: FoundSources) -> list[str]:
    """Return the folders of the models that were found."""
    return [model.place for model in bases.models if model.place]


def model_names(experiment: Experiment) -> list[str]:
    """Return the models that an experiment asks for."""
    grid = experiment.grid
    return list(dict.fromkeys(grid.axes.get("model", (grid.base.model,))))


@stage("finding model and data")
def find_sources(request: Request, source: str, trust_remote_code: bool = False) -> FoundSources:
    """Find model and data; raises UserError naming what was tried. The hub is asked once, then left alone."""
    names, may_stand_in = model_names(request.experiment), request.may_stand_in
    models = [_model(name, source, "model" in may_stand_in and len(names) == 1, trust_remote_code) for name in names]
    data = _data(request.experiment.grid.base.data, source, "data" in may_stand_in)
    bases = FoundSources(tuple(models), data, _targets(request, models))
    if len(bases.model_folders) < len(models):
        raise UserError(f"the models {', '.join(names)} must have different names: tables tell them apart by these")
    sources.go_offline()
    return bases


def _targets(request: Request, models: list[FoundSource]) -> tuple[str, ...] | None:
    """Return the adapted layers by the name of a model that the user put in the place of the experiment's own."""
    grid = request.experiment.grid
    if "model" not in request.changed or len(models) > 1 or {"target_modules"} & {*request.changed, *grid.axes}:
        return None
    return estimates.layers_in_place_of(grid.base.target_modules, models[0].place)


def asks_for_its_length(request: Request, bases: FoundSources) -> bool:
    """Tell whether somebody chose max_length_tokens for the very models that are used: no default, no other model."""
    own_models = "model" not in request.changed and not any(model.stood_in for model in bases.models)
    return "max_length_tokens" in (request.changed | request.in_file if own_models else request.changed)


def unresolved(experiment: Experiment) -> FoundSources:
    """Return the bases by the names that the experiment gives them, for a plan without any of them at hand."""
    models = tuple(FoundSource(name, name, "absent", "", None) for name in model_names(experiment))
    data = experiment.grid.base.data
    return FoundSources(models, FoundSource(data, data, "absent", "", None))


@stage("reading the model's files")
def find_models_again(
    stored: SweepSources, hints: Mapping[str, str], trust_remote_code: bool | None = None
) -> FoundSources:
    """Find the very models of a sweep again; raises UserError where one is gone, has changed or runs other code.

    Without a word on `trust_remote_code` nothing of them is run, and they are compared as they were then.
    """
    models = []
    for entry in stored.models:
        bundled = entry.kind == "bundled"
        places = [place for place in (entry.requested, hints.get(entry.label, "")) if Path(place).is_dir()]
        name = places[0] if entry.kind == "local" and places else entry.requested
        trusted = entry.own_code if trust_remote_code is None else trust_remote_code
        found = replace(_model(name, "bundled" if bundled else "auto", bundled, trusted), **_names(entry))
        _check_code(entry, found)
        check_same("model", entry, _fingerprint(entry, found))
        models.append(found)
    return FoundSources(tuple(models), stored_sources(stored).data)


def _check_code(entry: ModelEntry, found: FoundSource) -> None:
    """Raise UserError unless a model's own code is run now as it was; a sweep of the first scheme does not say."""
    if entry.fingerprint_scheme == 1 or entry.own_code == found.own_code:
        return
    was, now = ("without", "leave it out") if found.own_code else ("with", "give it again")
    raise UserError(
        f"this sweep was started {was} --trust-remote-code, and the code of the model {entry.label} decides what is "
        f"trained: {now}, or choose another --out"
    )


def _fingerprint(entry: ModelEntry, found: FoundSource) -> str | None:
    """Return a model's fingerprint by the scheme of the sweep; raises UserError where its texts would end otherwise."""
    if entry.fingerprint_scheme == found.fingerprint_scheme:
        return found.fingerprint
    encoder = load_encoder(found.place)
    if encoder.eos_ids != (encoder.eos_id,):
        raise UserError(
            f"the texts of this sweep ended at one token alone, and {entry.label} declares "
            f"{len(encoder.eos_ids)} ends of text, all of which stop a text now; choose another --out"
        )
    return sources.model_fingerprint(Path(found.place), entry.fingerprint_scheme)


def model_notes(bases: FoundSources, stored: SweepSources | None = None) -> list[str]:
    """Check where each model's texts end; say which end is trained of several, and how an old sweep is compared."""
    notes = [
        f"model: the fingerprint of {entry.label} was made when it covered configuration, vocabulary and weights "
        "alone, and is compared by these: a change of tokenizer_config.json or of the chat template does not show"
        for entry in (stored.models if stored else ())
        if entry.fingerprint_scheme == 1
    ]
    for model in bases.models:
        encoder = load_encoder(model.place)
        end_checks.check_ends(encoder, Path(model.place))
        sentence = end_checks.ends_sentence(encoder)
        notes += [f"model: {model.label}: {sentence}"] if sentence else []
    return notes


def find_data_again(stored: SweepSources, hint: str) -> FoundSource:
    """Find the data of a sweep again; what it holds is compared once it has been read."""
    entry = stored.data
    asked, configuration = parted(entry.requested)
    places = [place for place in (asked, hint) if Path(place).exists()]
    name = places[0] if entry.kind == "local" and places else asked
    name = name if configuration is None else f"{name}:{configuration}"
    bundled = entry.kind == "bundled"
    return replace(_data(name, "bundled" if bundled else "auto", bundled), **_names(entry))


def _names(entry: SourceEntry) -> dict[str, Any]:
    """A folder may have been found under another name since: the sweep keeps the first."""
    return {"requested": entry.requested, "label": entry.label, "kind": entry.kind}


def check_requested(out: Path, stored: SweepSources, experiment: Experiment) -> None:
    """Raise UserError unless the sweep stands on the models and the data that are asked for, by name or content."""
    entries, names = stored.models, model_names(experiment)
    for entry, name in zip(entries, names, strict=False):
        if Path(name).is_dir() and entry.kind == "local":
            found = sources.model_fingerprint(Path(name), entry.fingerprint_scheme, entry.own_code)
            check_same("model", entry, found)
        elif entry.requested != name:
            raise UserError(_another(out, "model", entry.requested, name))
    if len(entries) != len(names):
        raise UserError(_another(out, "models", ", ".join(entry.requested for entry in entries), str(names)))
    data, name = stored.data, experiment.grid.base.data
    if data.requested != name and not (data.kind == "local" and Path(parted(name)[0]).exists()):
        raise UserError(_another(out, "data", data.requested, name))


def _another(out: Path, noun: str, requested: str, name: str) -> str:
    return f"{out} holds a sweep of the {noun} {requested!r}, not {name!r}; choose another --out"


def check_same(noun: str, entry: SourceEntry, fingerprint: str | None) -> None:
    """Raise UserError unless `fingerprint` is what the sweep was started with."""
    if entry.fingerprint != fingerprint:
        raise UserError(
            f"this sweep was started with the {noun} {entry.label} (fingerprint {(entry.fingerprint or '?')[:8]}), "
            f"and what is there now is another ({(fingerprint or '?')[:8]}); choose another --out"
        )


def stored_sources(stored: SweepSources) -> FoundSources:
    """Return the bases as sweep.json names them, without a place on this machine."""
    models = (
        replace(_stored(model), fingerprint_scheme=model.fingerprint_scheme, own_code=model.own_code)
        for model in stored.models
    )
    return FoundSources(tuple(models), _stored(stored.data), stored.target_modules or None)


def _stored(entry: SourceEntry) -> FoundSource:
    return FoundSource(**_names(entry), place="", revision=entry.revision, fingerprint=entry.fingerprint)


def with_sources(request: Request, bases: FoundSources, precision: str) -> Experiment:
    """Return the experiment with the labels of what it stands on, and its precision decided.

    Where a stand-in runs, its own axes replace the experiment's, but never what the user asked for.
    """
    experiment, stand_in = request.experiment, request.experiment.stand_in
    fields: dict[str, Any] = {"data": bases.data.label, "model": bases.models[0].label}
    if bases.target_modules:
        fields["target_modules"] = bases.target_modules
    if bases.data.stood_in:
        defaults = TrainConfig.model_fields
        fields |= {
            name: defaults[name].default for name in ("source_field", "target_field") if name not in request.changed
        }
    base = configured(TrainConfig, {**experiment.grid.base.model_dump(), **fields})
    grid = Grid(base, experiment.grid.axes)
    if "model" in grid.axes:
        labels = {model.requested: model.label for model in bases.models}
        grid = with_axes(grid, {"model": [labels[name] for name in grid.axes["model"]]})
    ranges: dict[str, Spread] = {}
    if stand_in is not None and bases.models[0].stood_in:
        own = {name: values for name, values in stand_in.axes.items() if name not in request.changed}
        ranges = {name: values for name, values in own.items() if not isinstance(values, tuple)}
        grid = with_axes(grid, _few({name: values for name, values in own.items() if isinstance(values, tuple)}, grid))
    if grid.base.precision == "auto":
        grid = Grid(configured(TrainConfig, {**grid.base.model_dump(), "precision": precision}), grid.axes)
    axes = {name: _decided(name, values, precision) for name, values in grid.axes.items()}
    bundled = all(base.kind == "bundled" for base in (*bases.models, bases.data))
    resolved = replace(experiment, grid=Grid(grid.base, axes), bundled=bundled)
    if ranges and resolved.search is not None:
        return resolved.with_search(with_spreads(resolved.search, ranges))
    return resolved


def _few(own: Mapping[str, tuple[Any, ...]], grid: Grid) -> dict[str, tuple[Any, ...]]:
    """Keep a stand-in's axis as short as the request's: a smoke run asks for one rate of two."""
    return {name: values[: max(1, len(grid.axes.get(name, values)))] for name, values in own.items()}


def _decided(name: str, values: tuple[Any, ...], precision: str) -> tuple[Any, ...]:
    if name != "precision":
        return values
    return tuple(dict.fromkeys(precision if value == "auto" else value for value in values))


def banner(bases: FoundSources, experiment: Experiment, request: Request, source: str) -> str | None:
    """Say what stands in for what and with which settings of its own, None where nothing does."""
    stood_in = [base for base in (*bases.models, bases.data) if base.stood_in]
    if not stood_in:
        return None
    pairs = " and ".join(f"{base.label} for {base.requested}" for base in stood_in)
    why = "as --source bundled asks" if source == "bundled" else "neither local, nor cached, nor reachable"
    text = f"STAND-IN: {pairs} ({why}); scores and choice hold for the stand-in alone"
    if request.experiment.stand_in and bases.models[0].stood_in:
        own = [name for name in request.experiment.stand_in.axes if name not in request.changed]
        values = [f"{name} {_told(request.experiment.stand_in.axes[name], experiment.grid.axes[name])}" for name in own]
        text += f"; its own {' and '.join(values)}" if values else ""
    return text


def _told(asked: tuple[Any, ...] | Spread, values: Sequence[Any]) -> str:
    return (", " if isinstance(asked, tuple) else " to ").join(f"{value:g}" for value in values)


def _model(name: str, source: str, stand_in: bool, trust_remote_code: bool) -> FoundSource:
    found = sources.resolve_model(name, source, stand_in, trust_remote_code)
    about = (found.label, found.kind, found.folder, found.revision, found.fingerprint)
    return FoundSource(name, *about, fingerprint_scheme=SCHEME, own_code=found.own_code)


def _data(name: str, source: str, stand_in: bool) -> FoundSource:
    found = sources.resolve_data(name, source, stand_in)
    return FoundSource(name, found.label, found.kind, found.location, found.revision, configuration=found.configuration)


def data_source(base: FoundSource) -> sources.DataSource:
    """Return a data set as the loader takes it."""
    kind: Any = base.kind
    return sources.DataSource(base.label, base.place, kind, base.revision, base.configuration)


def stamp(base: FoundSource) -> str | None:
    """Return a cheap mark of a local data set's files, None for other kinds: where it is equal, so is the content."""
    path = Path(base.place)
    if base.kind != "local" or not path.exists():
        return None
    found = [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())
    text = "".join(f"{part.name} {part.stat().st_size} {part.stat().st_mtime_ns}\n" for part in found)
    return hashlib.sha256(text.encode()).hexdigest()
