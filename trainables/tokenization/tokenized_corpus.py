"""The token rows of a sweep's examples, made once per engine and template (no torch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainables.config import TrainConfig
from trainables.data.corpus import Example, example_of
from trainables.errors import UserError
from trainables.prompts import template_of
from trainables.records import atomic_files
from trainables.records.record import SweepFolder
from trainables.tokenization.encoder import Encoder, context_length, load_encoder
from trainables.tokenization.token_rows import TokenRow, build_rows


@dataclass
class TokenizedExamples:
    """The examples of one sweep folder and their token rows, made once for all trials that share them."""

    sweep: SweepFolder
    model_folders: dict[str, str]
    load: Callable[[Path], Encoder] = load_encoder  # an engine's: what whoever serves the model later gets
    _kept: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def folder(self, train: TrainConfig) -> Path:
        """Return the folder of a trial's base model; raises UserError for one that the engine was not given."""
        if train.model not in self.model_folders:
            raise UserError(
                f"model {train.model!r} was not resolved to a folder; known: {', '.join(self.model_folders)}"
            )
        return Path(self.model_folders[train.model])

    def encoder(self, train: TrainConfig) -> Encoder:
        folder = self.folder(train)
        load = load_encoder if train.tokenization == "parts" else self.load
        return self._once(("encoder", folder, load is load_encoder), lambda: load(folder))

    def limit_tokens(self, train: TrainConfig) -> int:
        """Return how many tokens a prompt and its completion may have together."""
        folder = self.folder(train)
        context = self._once(("context", folder), lambda: context_length(folder))
        return min(train.max_length_tokens, context or train.max_length_tokens)

    def put_train_examples(self, data_seed: int, examples: list[Example]) -> None:
        """Take a training set in its order from memory, where the sweep has no folder yet."""
        self._kept["examples", self.sweep.train_examples_path(data_seed)] = examples

    def train_examples(self, train: TrainConfig) -> list[Example]:
        """Return the trial's training subset in its order; raises UserError where the sweep has fewer."""
        return self._examples(self.sweep.train_examples_path(train.data_seed), train.train_examples)

    def evaluation_examples(self, split: str, count: int) -> list[Example]:
        return self._examples(self.sweep.evaluation_examples_path(split), count)

    def train_rows(self, train: TrainConfig, count: int | None = None) -> list[TokenRow]:
        """Return the rows of the first `count` training examples, also those that do not fit."""
        return self._rows(train, "train", self.train_examples(train)[:count], 0)

    def evaluation_rows(self, train: TrainConfig, split: str, count: int, max_new_tokens: int) -> list[TokenRow]:
        """Return the rows of an evaluation: `max_new_tokens` stay free after each prompt."""
        return self._rows(train, split, self.evaluation_examples(split, count), max_new_tokens)

    def _examples(self, path: Path, count: int) -> list[Example]:
        examples = self._once(("examples", path), lambda: [example_of(row) for row in atomic_files.read_lines(path)])
        if not examples:
            raise UserError(f"{path} holds no examples")
        # A split smaller than asked for is used whole: the record says how many it was.
        return list(examples[:count])

    def _rows(self, train: TrainConfig, split: str, examples: Sequence[Example], reserve: int) -> list[TokenRow]:
        template = train.prompt_template or template_of(train.prompt, {})
        limit = self.limit_tokens(train)
        # An id names one example of a split alone; training subsets of several data seeds share theirs.
        kind = ("row", self.folder(train), template, limit, split, reserve, train.tokenization == "parts")
        absent = [example for example in examples if (*kind, example.id) not in self._kept]
        made = build_rows(self.encoder(train), template, absent, limit, reserve, train.tokenization) if absent else ()
        self._kept.update({(*kind, example.id): row for example, row in zip(absent, made, strict=True)})
        return [self._kept[*kind, example.id] for example in examples]

    def _once(self, key: tuple[Any, ...], make: Any) -> Any:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]
