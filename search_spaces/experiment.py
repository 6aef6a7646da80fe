"""An experiment: what to try, on what data, how it is judged; loaded by name or from a user's own file."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from search_spaces.grid import Grid, expand
from trainables.config import Decoding, EvalConfig, TrainConfig, explain, external_of
from trainables.errors import UserError, nearest
from trainables.prompts import template_of

NOT_EXPERIMENTS = {"__init__", "experiment", "grid"}
SELECTION_METRICS = ("rougeL", "rouge1", "rouge2", "rougeLsum", "chrf", "bleu", "eval_loss")


@dataclass(frozen=True)
class StandIn:
    """What runs in place of a model or data set that is neither local, cached nor reachable."""

    model: str
    data: str
    axes: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # replaces axes while the model is stood in for


@dataclass(frozen=True)
class Experiment:
    """One search space; `name` is also the default name of its sweep's folder."""

    name: str
    description: str
    grid: Grid
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    prompts: dict[str, str] = field(default_factory=dict)
    stand_in: StandIn | None = None
    needs_gpu: bool = False
    metric: str = "rougeL"
    keep_leaked: bool = False

    def __post_init__(self) -> None:
        check_metric(self.metric, self.evaluation)
        for name in (self.grid.base.prompt, *self.grid.axes.get("prompt", ())):
            template_of(name, self.prompts)

    def configurations(self) -> list[TrainConfig]:
        """Return every configuration in declared order, each with the text of its prompt."""
        return [
            train.model_copy(update={"prompt_template": template_of(train.prompt, self.prompts)})
            for train in expand(self.grid)
        ]


def check_metric(metric: str, evaluation: EvalConfig) -> None:
    """Raise UserError unless the choice can be made by `metric`."""
    stored = [one.score_name for name in evaluation.metrics if (one := external_of(name))]
    known = (*SELECTION_METRICS, *stored)
    if metric not in known:
        raise UserError(f"metric {metric!r} is unknown; {nearest(metric, known)}")
    if metric in ("chrf", "bleu") and metric not in evaluation.metrics:
        raise UserError(
            f"metric {metric!r} needs it among the evaluation's metrics: EvalConfig(metrics=('rouge', {metric!r}))"
        )


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
    own = [str(other) for other in sorted(Path().glob("*.py")) if "Experiment(" in other.read_text(errors="replace")]
    raise UserError(f"experiment {name_or_path!r} is unknown; {nearest(name_or_path, [*built_in(), *own])}")


def _import(name: str) -> ModuleType:
    return importlib.import_module(f"search_spaces.{name}")


def _run_file(path: Path) -> ModuleType:
    """Execute a user's file as a module under a private name, so that it hides nothing and is hidden by nothing."""
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
    except Exception as error:
        raise UserError(f"{path}, line {_line_in(path, error)}: {_cause(error)}") from None
    return module


def _line_in(path: Path, error: Exception) -> int | None:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return lines[-1] if lines else None


def _cause(error: Exception) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ValidationError):
        kinds = {kind.__name__: kind for kind in (TrainConfig, EvalConfig, Decoding)}
        return explain(kinds.get(error.title, TrainConfig), error)
    return f"{type(error).__name__}: {error}"


def _experiment_of(module: ModuleType, where: str) -> Experiment:
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        found = "none" if experiment is None else f"a {type(experiment).__name__}"
        raise UserError(f"{where} must define `experiment = Experiment(...)`, got {found}")
    return experiment
