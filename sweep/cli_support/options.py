"""The options that verbs share, each declared once, and groups of them taken as one value (no torch, no ray).

A group is a frozen dataclass whose fields are options; `one_by_one` shows typer the options in the place of the group.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from search_spaces.samplers import SAMPLERS
from trainables.metric_table import CHOOSING, LOSS

MOST_SLOTS, MOST_ENGINES = 4096, 64  # more cannot be meant
MOST_SEEDS = 5  # of --seeds auto
ENGINES = ("packed", "solo")
ALONE = {"--settle": "auto"}
VALUE = r"auto|[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|[+-]?inf"


def seed_count(text: str | int) -> int:
    """Read `--seeds`: a number, or minus the most that auto may take; raises BadParameter with the rule."""
    match = re.fullmatch(r"auto(?::(\d+))?", str(text))
    most = int(match[1] or MOST_SEEDS) if match else 0
    if most > 1:
        return -most
    try:
        count = int(text)
    except ValueError:
        count = -1
    if count < 0:
        raise typer.BadParameter(f"it must be a whole number or, with --settle, auto or auto:N from 2, got {text!r}")
    return count


def seeds_of(count: int) -> tuple[int, int]:
    """Return the seeds of every configuration, and the most that those left of a race may have."""
    return (1, -count) if count < 0 else (count, 1)


ExperimentArgument = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="Name (see `sweep list`) or Python file.", show_default=False)
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a sweep, or its name under runs/.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the sweep; default: runs/EXPERIMENT.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Base model: hub name, folder, or pocket-gpt2.")]
DataOption = Annotated[
    str | None, typer.Option("--data", help="Data set: samsum, hub name, folder or file; NAME:CONFIG; or pocket-chats.")
]
FieldsOption = Annotated[
    str | None, typer.Option("--fields", help="Names of the data's fields: source=dialogue,target=summary.")
]
SourceOption = Annotated[str, typer.Option("--source", help="Where model and data come from: auto, hub or bundled.")]
SeedsOption = Annotated[
    int,
    typer.Option(
        "--seeds",
        parser=seed_count,
        metavar="N",
        help="Replicates of every configuration: 3; with --settle auto[:N]: of those left.",
    ),
]
SettleOption = Annotated[
    str | None,
    typer.Option("--settle", metavar="[MARGIN]", help="End when the choice is settled within so many points, or auto."),
]
MetricOption = Annotated[
    str | None, typer.Option("--metric", help=f"Chooses: {', '.join(CHOOSING[:-1])} or {CHOOSING[-1]}.")
]
EvalExamplesOption = Annotated[
    str | None, typer.Option("--eval-examples", help="Examples that choose and that report: 64,128.")
]
DecodingOption = Annotated[str | None, typer.Option("--decoding", help="greedy, beam4 or original (sampling).")]
MaxNewTokensOption = Annotated[int | None, typer.Option("--max-new-tokens", help="Longest summary, in tokens.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
KeepOption = Annotated[str | None, typer.Option("--keep", help=f"Checkpoint kept: last, or best by {LOSS}.")]
KeepLeakedOption = Annotated[bool, typer.Option("--keep-leaked", help="Evaluate also on examples that are in train.")]
SearchOption = Annotated[
    str | None, typer.Option("--search", help=f"Search, not all of a grid: {', '.join(SAMPLERS)}.")
]
TrialsOption = Annotated[int | None, typer.Option("--trials", help="Points that a search tries in all.")]
ObjectivesOption = Annotated[
    str | None, typer.Option("--objectives", help="Of a search, several: rougeL,-trainable_parameters.")
]
WarmStartOption = Annotated[
    str | None, typer.Option("--warm-start", help="Another sweep, whose trials a search begins with.")
]
SmokeOption = Annotated[bool, typer.Option("--smoke", help="Every stage on 10 examples and 2 steps.")]
EngineOption = Annotated[str, typer.Option("--engine", help="packed: trials share a base; solo: one after another.")]
EnginesPerGpuOption = Annotated[
    int, typer.Option("--engines-per-gpu", min=1, max=MOST_ENGINES, help="Engines that share a GPU.")
]
PackWidthOption = Annotated[
    int | None,
    typer.Option("--pack-width", min=1, max=MOST_SLOTS, help="Trials that share an engine; default: as measured here."),
]
MemoryOption = Annotated[
    str | None, typer.Option("--memory", help="Most that an engine may use: 5.6GiB, 800MiB; default: all there is.")
]
AddressOption = Annotated[str | None, typer.Option("--address", help="Ray cluster to join; default: its own.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
TrustOption = Annotated[
    bool, typer.Option("--trust-remote-code", help="Let the model's own Python code run on this machine.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FIELD=V1,V2]...", help="Axes to replace or add: lora_rank=8,16 learning_rate=1e-4; ranges."
    ),
]


@dataclass(frozen=True)
class ExperimentOptions:
    """An experiment, what is changed of it, the models and data that it stands on, and the folder of its sweep."""

    experiment: ExperimentArgument
    overrides: Overrides = None
    model: ModelOption = None
    data: DataOption = None
    fields: FieldsOption = None
    source: SourceOption = "auto"
    out: OutOption = None
    seeds: SeedsOption = 1
    eval_examples: EvalExamplesOption = None
    decoding: DecodingOption = None
    max_new_tokens: MaxNewTokensOption = None
    metric: MetricOption = None
    keep: KeepOption = None
    keep_leaked: KeepLeakedOption = False
    search: SearchOption = None
    trials: TrialsOption = None
    objectives: ObjectivesOption = None
    warm_start: WarmStartOption = None
    settle: SettleOption = None


@dataclass(frozen=True)
class EngineOptions:
    """The engine that trains and evaluates, and how many of them there are."""

    engine: EngineOption = "packed"
    engines_per_gpu: EnginesPerGpuOption = 1


@dataclass(frozen=True)
class DeviceOptions:
    """What an engine may use of the machine, and how many trials share it."""

    pack_width: PackWidthOption = None
    memory: MemoryOption = None
    device: DeviceOption = "auto"


def with_values(arguments: Sequence[str]) -> list[str]:
    """Return a command line in which options that may stand alone have the values that they then mean.

    The command line library has no such options. What follows is a value where it can be one: nothing else on a command
    line is a number.
    """
    found: list[str] = []
    for place, text in enumerate(arguments):
        found.append(text)
        if text in ALONE and not re.fullmatch(VALUE, "".join(arguments[place + 1 : place + 2])):
            found.append(ALONE[text])
    return found


def one_by_one(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that takes each option of a group by itself, which is how typer reads them."""
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
            parameters += _options_of(hints[name])
        else:
            parameters.append(_by_name(name, hints[name], parameter.default))

    def run(**given: Any) -> Any:
        values = {
            name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()
        }
        return command(**values, **given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _options_of(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    found = [(one.name, hints[one.name], one.default) for one in fields(group)]
    return [_by_name(name, hint, inspect.Parameter.empty if value is MISSING else value) for name, hint, value in found]


def _by_name(name: str, hint: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint)
