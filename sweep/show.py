"""`sweep show`: training rows as the model sees them: prompt dim, summary coloured, end visible (no torch)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from analysis.format.terminal import Text, cell, text
from search_spaces.experiment import built_in
from sweep.cli_support import command
from sweep.cli_support.options import DataOption, FieldsOption, JsonOption, ModelOption, Overrides, SourceOption
from sweep.request import estimates, found_sources
from sweep.request.corpus import read_corpus
from sweep.request.overrides import Changes, request
from trainables.config import TrainConfig
from trainables.data.corpus import Example, example_of, training_order
from trainables.errors import UserError
from trainables.records.atomic_files import read_lines
from trainables.records.record import SweepFolder
from trainables.tokenization.encoder import Encoder, load_encoder
from trainables.tokenization.token_rows import build_row

END = "⏎"  # marks the end-of-text token, which is trained like every token of the summary


def show(
    experiment_or_run: Annotated[
        str, typer.Argument(metavar="EXPERIMENT|RUN", help="Experiment, Python file, or folder of a sweep.")
    ],
    overrides: Overrides = None,
    count: Annotated[int, typer.Option("-n", "--rows", min=1, help="Training rows to show, per prompt.")] = 3,
    model: ModelOption = None,
    data: DataOption = None,
    fields: FieldsOption = None,
    source: SourceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Show the first training rows as the model sees them: what is masked, what is trained, what was cut."""
    is_file = experiment_or_run.endswith(".py") and Path(experiment_or_run).is_file()
    if not is_file and experiment_or_run not in built_in():
        chosen = _of_sweep(command.existing_sweep(experiment_or_run), count)
    else:
        changes = Changes(tuple(overrides or ()), model=model, data=data, fields=fields)
        chosen = _of_experiment(experiment_or_run, changes, source, count)
    trains, folders, examples = chosen
    rows = []
    for train in trains:
        encoder = load_encoder(folders[train.model])
        limit = estimates.limit_tokens(train, folders[train.model])
        rows += [_row(encoder, train, example, limit) for example in examples]
    if as_json:
        command.print_json(rows)
    else:
        _print(rows)


Chosen = tuple[list[TrainConfig], dict[str, str], list[Example]]


def _of_experiment(name: str, changes: Changes, source: str, count: int) -> Chosen:
    wanted = request(name, changes)
    bases = found_sources.find_sources(wanted, source)
    experiment = found_sources.with_sources(wanted, bases, "fp32")
    corpus = read_corpus(bases.data, experiment)
    trains = _one_per_prompt(experiment.configurations())
    return trains, bases.model_folders, training_order(corpus.splits["train"], trains[0].data_seed)[:count]


def _of_sweep(folder: SweepFolder, count: int) -> Chosen:
    sweep = folder.manifest()
    bases = found_sources.find_models_again(sweep.resolved, sweep.model_hint)
    trains = _one_per_prompt([record.train_config() for record in folder.records()])
    if not trains:
        raise UserError(f"{folder.folder} has no trial yet")
    folder.check_examples()
    lines = read_lines(folder.train_examples_path(trains[0].data_seed))
    return trains, bases.model_folders, [example_of(line) for line in lines[:count]]


def _one_per_prompt(trains: Sequence[TrainConfig]) -> list[TrainConfig]:
    return list({(train.model, train.prompt, train.max_length_tokens): train for train in reversed(trains)}.values())[
        ::-1
    ]


def _row(encoder: Encoder, train: TrainConfig, example: Example, limit: int) -> dict[str, Any]:
    row = build_row(encoder, train.prompt_template, example, limit, tokenization=train.tokenization)
    return {
        "id": row.example_id,
        "prompt": train.prompt,
        "masked": text_of(encoder, row.prompt_ids),
        "trained": text_of(encoder, row.target_ids[:-1]),
        "ends_with": encoder.tokenizer.id_to_token(row.target_ids[-1]),
        "prompt_tokens": len(row.prompt_ids),
        "trained_tokens": len(row.target_ids),
        "limit_tokens": limit,
        "source_tokens_cut": row.source_tokens_cut,
        "fits": row.fits,
    }


def text_of(encoder: Encoder, ids: Sequence[int]) -> str:
    """Return the text of ids, special tokens included."""
    return str(encoder.tokenizer.decode(list(ids), skip_special_tokens=False))


def _print(rows: Sequence[dict[str, Any]]) -> None:
    console = command.results()
    for row in rows:
        cut = f", {row['source_tokens_cut']} source tokens cut" if row["source_tokens_cut"] else ""
        fits = "" if row["fits"] else ", DOES NOT FIT: left out of training"
        head = (
            f"{row['id']}, prompt {row['prompt']}: {row['prompt_tokens']} masked + {row['trained_tokens']} trained "
            f"of {row['limit_tokens']} tokens{cut}{fits}"
        )
        console.print(cell(head, "bold"))
        parts = ((row["masked"], "dim"), (row["trained"], "bold green"))
        whole = Text.assemble(*(text(content, style) for content, style in parts))
        console.print(whole.append_text(cell(f"{END}{row['ends_with']}", "reverse green")))
        console.print()


app = command.app(show)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    return command.execute(app, "sweep show", arguments)


if __name__ == "__main__":
    sys.exit(main())
