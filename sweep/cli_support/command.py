"""What every verb shares: its options, its exit codes, and how it prints and fails (no torch, no ray).

Results go to stdout, banners, progress and errors to stderr. A mistake of the user's is one sentence and exit 2.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.format.terminal import any_letter_can_be_printed, notes, print_json, results
from sweep.environment import exit_process
from sweep.environment.secrets import without_secrets
from trainables.errors import UserError, nearest, shown
from trainables.hardware.machine import parse_bytes
from trainables.records.atomic_files import DamagedFile
from trainables.records.record import SweepFolder

__all__ = ["notes", "print_json", "results"]  # beside what is below: what every verb prints by

DONE, SOME_FAILED, BAD_USAGE = 0, 1, 2
MOST_SLOTS, MOST_ENGINES = 4096, 64  # more cannot be meant
RUNS = Path("runs")
ENGINES = ("packed", "solo")

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
SeedsOption = Annotated[int, typer.Option("--seeds", help="Replicates of every configuration: seeds 42, 43, ...")]
MetricOption = Annotated[
    str | None, typer.Option("--metric", help="Chooses: rougeL, rouge1, rouge2, rougeLsum, chrf, bleu or eval_loss.")
]
EvalExamplesOption = Annotated[
    str | None, typer.Option("--eval-examples", help="Examples that choose and that report: 64,128.")
]
DecodingOption = Annotated[str | None, typer.Option("--decoding", help="greedy, beam4 or original (sampling).")]
MaxNewTokensOption = Annotated[int | None, typer.Option("--max-new-tokens", help="Longest summary, in tokens.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
KeepOption = Annotated[str | None, typer.Option("--keep", help="Checkpoint kept: last, or best by eval_loss.")]
KeepLeakedOption = Annotated[bool, typer.Option("--keep-leaked", help="Evaluate also on examples that are in train.")]
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
    typer.Argument(metavar="[FIELD=V1,V2]...", help="Axes to replace or add: lora_rank=8,16 learning_rate=1e-4."),
]


def note(text: str, style: str | None = None) -> None:
    """Print one line beside the results."""
    notes().print(text, style=style)


def app(command: Callable[..., Any]) -> typer.Typer:
    """Return the typer application of one verb."""
    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    made.command()(command)
    return made


def execute(application: typer.Typer, name: str, arguments: Sequence[str] | None = None) -> int:
    """Run a verb and return its exit code; a UserError is one line on stderr and 2."""
    any_letter_can_be_printed()
    code = _execute(application, name, arguments)
    exit_process.with_code(code)
    return code


def _execute(application: typer.Typer, name: str, arguments: Sequence[str] | None) -> int:
    try:
        code = application(
            args=list(sys.argv[1:] if arguments is None else arguments), prog_name=name, standalone_mode=False
        )
        return code if isinstance(code, int) else DONE
    except (UserError, DamagedFile) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        if error.filename is None:
            raise
        return _complain(f"{shown(error.filename)}: {error.strerror}")
    except Exception as error:
        # The command line library's own complaints (unknown option, missing argument) know how to say themselves.
        if not hasattr(error, "format_message"):
            raise
        return _complain(error.format_message())


def _complain(message: str) -> int:
    notes().print(f"sweep: {without_secrets(message)}", style="red")
    return BAD_USAGE


def memory_bytes(text: str | None) -> int | None:
    """Return the bytes of --memory; raises UserError with the rule."""
    return None if text is None else parse_bytes("--memory", text)


def existing_sweep(run: str) -> SweepFolder:
    """Return the sweep in folder `run`, or of that name under runs/; UserError where there is none."""
    for path in (Path(run), RUNS / run):
        if (path / "sweep.json").exists():
            return SweepFolder(path.resolve())
    if Path(run).is_dir():
        raise UserError(f"{run} holds no sweep: it has no sweep.json")
    raise UserError(f"there is no sweep {run!r}; {nearest(run, [str(path) for path in sweeps_here()])}")


def sweeps_here() -> list[Path]:
    """Return the folders under runs/ that hold a sweep."""
    return sorted(path.parent for path in RUNS.glob("*/sweep.json"))
