"""An experiment: what to try, on what data, how it is judged; loaded by name or from a user's own file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import re
import sys
import tokenize
import traceback
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from search_spaces.grid import Grid, expand
from search_spaces.objectives import check_metric, objectives_of
from search_spaces.points import Search, frame, in_frame, representatives
from search_spaces.samplers import choose
from search_spaces.search import spread_of
from search_spaces.spreads import Choice, Spread
from trainables.config import Decoding, EvalConfig, TrainConfig, as_printed, explain
from trainables.errors import UserError, nearest, shown
from trainables.metric_table import DEFAULT
from trainables.prompts import PROMPTS, template_of

NOT_EXPERIMENTS = {
    "__init__",
    "experiment",
    "grid",
    "objectives",
    "points",
    "samplers",
    "search",
    "search_changes",
    "spreads",
}
DECLARED = {
    "uniform": "uniform(0, 0.2)",
    "log_uniform": "log_uniform(5e-5, 5e-3)",
    "integer": "integer(1, 64, log=True)",
    "ratio": 'ratio("lora_rank", 1, 4)',
    "search": "search(base, learning_rate=log_uniform(5e-5, 5e-3), trials=24)",
}
"""How the parts of a search are written, for whoever leaves something out."""

NO_GRID = Grid(TrainConfig(model="none", data="none"), {})  # of an experiment that is a search


@dataclass(frozen=True)
class StandIn:
    """What runs in place of a model or data set that is neither local, cached nor reachable."""

    model: str
    data: str
    # What replaces axes while the model is stood in for: values, or in a search a range.
    axes: dict[str, tuple[Any, ...] | Spread] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class Experiment:
    """One search space; `name` is also the default name of its sweep's folder.

    It has a grid or a search. A search has a grid too, its frame: base and choices, and the ends of its ranges.
    """

    name: str
    description: str
    grid: Grid = NO_GRID
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    prompts: dict[str, str] = field(default_factory=dict)
    stand_in: StandIn | None = None
    needs_gpu: bool = False
    metric: str = DEFAULT
    keep_leaked: bool = False
    bundled: bool = False  # model and data are the bundled ones, of which every text is known
    search: Search | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.search is None and self.grid is NO_GRID:
            raise UserError("an Experiment needs grid=grid(...) or search=search(...)")
        if self.search is not None and self.grid is NO_GRID:
            object.__setattr__(self, "grid", frame(self.search))
        elif self.search is not None:  # its frame, which may have been changed
            object.__setattr__(self, "search", in_frame(self.search, self.grid))
        for name, template in self.prompts.items():
            if not isinstance(name, str) or not isinstance(template, str) or not name:
                raise UserError(
                    f"Experiment.prompts must give each name its text, got {shown(name)}: {shown(template)}"
                )
        if self.stand_in:  # read once: its axes may come from an iterator
            axes = {name: self._stand_in_axis(name, value) for name, value in self.stand_in.axes.items()}
            object.__setattr__(self, "stand_in", replace(self.stand_in, axes=axes))
        check_metric(self.metric, self.evaluation)
        if self.search is not None:
            objectives_of(self.search.objectives, self.metric, self.evaluation)
            choose(self.search)
        for name in (self.grid.base.prompt, *self.grid.axes.get("prompt", ())):
            template_of(name, self.prompts)

    def _stand_in_axis(self, name: str, value: Any) -> tuple[Any, ...] | Spread:
        spread = spread_of(self.grid.base, name, value)
        if isinstance(spread, Choice):
            return spread.values
        if self.search is None:
            raise UserError(f"StandIn.axes: {name} is a range, and a grid has values: write {{{name!r}: (..., ...)}}")
        return spread

    def with_search(self, space: Search) -> Experiment:
        """Return the experiment with this search in place of its grid or its search."""
        return replace(self, grid=NO_GRID, search=space)

    def configurations(self) -> list[TrainConfig]:
        """Return every configuration of a grid in declared order, of a search what stands for its points."""
        found = representatives(self.search) if self.search is not None else expand(self.grid)
        return [self.filled_in(train) for train in found]

    def filled_in(self, train: TrainConfig) -> TrainConfig:
        """Return a configuration with the text of its prompt."""
        text = template_of(train.prompt, self.prompts)
        return train.model_copy(update={"prompt_template": text, "tokenization": self._tokenization(text)})

    def _tokenization(self, template: str) -> str:
        """Return "either" where the prompts' ids are what they were when they were tokenized in parts."""
        return "either" if self.bundled and template in PROMPTS.values() else "whole"


# What each field of the types above must be, and how that is said.
TEXT, SWITCH = (str, "a text"), (bool, "True or False")
KINDS: dict[str, tuple[Any, str]] = {
    "name": TEXT,
    "description": TEXT,
    "grid": (Grid, "a grid, such as grid(base, lora_rank=[8, 16])"),
    "search": (Search | None, "a search, such as search(base, learning_rate=log_uniform(5e-5, 5e-3), trials=24)"),
    "evaluation": (EvalConfig, "an EvalConfig(...)"),
    "prompts": (dict, "like {'v3': 'Summarize.\\n\\n{source}\\n\\nSummary:'}"),
    "stand_in": (StandIn | None, "a StandIn(...) or None"),
    "needs_gpu": SWITCH,
    "metric": TEXT,
    "keep_leaked": SWITCH,
    "bundled": SWITCH,
    "model": TEXT,
    "data": TEXT,
    "axes": (dict, "like {'lora_rank': (8, 16)}"),
}


def check_types(made: Experiment | StandIn) -> None:
    """Raise UserError for a field of another type than its own, naming both; numpy's truth values and texts will do."""
    where = type(made).__name__
    for one in fields(made):
        value = as_printed(getattr(made, one.name))
        kind, said = KINDS[one.name]
        if not isinstance(value, kind):
            raise UserError(f"{where}.{one.name} must be {said}, got {shown(value)}")
        if one.name in ("name", "model", "data") and not value.strip():
            raise UserError(f"{where}.{one.name} must not be empty")
        if isinstance(value, str) and not _is_unicode(value):
            raise UserError(f"{where}.{one.name} must be text, got half of a character in {shown(value)}")
        object.__setattr__(made, one.name, value)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def built_in() -> list[str]:
    """Return the names of the experiments that come with the project."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NOT_EXPERIMENTS)


def load_experiment(name_or_path: str) -> Experiment:
    """Return a built-in experiment or the `experiment` of a Python file; UserError names file, line and reason."""
    path = Path(name_or_path)
    if path.suffix == ".py":
        if not path.is_file():
            known = [str(path.with_name(other.name)) for other in sorted(path.parent.glob("*.py"))]
            raise UserError(f"experiment file {name_or_path!r} is not there; {nearest(name_or_path, known)}")
        return _experiment_of(_run_file(path.resolve()), str(path))
    if name_or_path in built_in():
        return _experiment_of(_import(name_or_path), name_or_path)
    own = [str(other) for other in sorted(Path().glob("*.py")) if _holds_an_experiment(other)]
    raise UserError(f"experiment {name_or_path!r} is unknown; {nearest(name_or_path, [*built_in(), *own])}")


def _holds_an_experiment(path: Path) -> bool:
    try:
        return path.is_file() and "Experiment(" in path.read_text(errors="replace")
    except OSError:
        return False


def source_of(name_or_path: str) -> str:
    """Return the text of a built-in experiment or of a Python file; empty where there is none."""
    path = Path(name_or_path)
    if path.suffix != ".py":
        path = Path(__file__).with_name(f"{name_or_path}.py")
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _import(name: str) -> ModuleType:
    return importlib.import_module(f"search_spaces.{name}")


def _run_file(path: Path) -> ModuleType:
    """Execute a user's file as a module under a private name, so that it hides nothing and is hidden by nothing."""
    _check_is_text(path)
    name = f"_experiment_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}") from None
    except SystemExit:
        raise UserError(f"{path} ends the program itself (sys.exit) before it has said what to run") from None
    except Exception as error:
        raise UserError(f"{path}, line {_line_in(path, error)}: {_cause(error)}") from None
    return module


def _check_is_text(path: Path) -> None:
    try:
        content = path.read_bytes()
        if b"\0" in content:
            raise UserError(f"{path} is no Python text: it holds null bytes, as a compiled or binary file does")
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        content.decode(encoding)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (SyntaxError, UnicodeDecodeError, LookupError) as error:
        raise UserError(f"{path} is no Python text: {' '.join(str(error).split())}") from None


def _line_in(path: Path, error: Exception) -> int | None:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _cause(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ValidationError):
        kinds = {kind.__name__: kind for kind in (TrainConfig, EvalConfig, Decoding)}
        return explain(kinds.get(error.title, TrainConfig), error)
    unknown = re.search(r"(Experiment|StandIn)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if unknown:
        kind = Experiment if unknown[1] == "Experiment" else StandIn
        return (
            f"{unknown[2]!r} is not a field of {unknown[1]}; {nearest(unknown[2], [one.name for one in fields(kind)])}"
        )
    missing = re.match(r"(\w+)\(\) missing \d+ required [\w-]+ arguments?: (.*)", str(error))
    if missing and missing[1] in DECLARED:
        return f"{missing[1]} needs {missing[2]}, as in {DECLARED[missing[1]]}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _experiment_of(module: ModuleType, where: str) -> Experiment:
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        found = "none" if experiment is None else f"a {type(experiment).__name__}"
        raise UserError(f"{where} must define `experiment = Experiment(...)`, got {found}")
    return experiment
