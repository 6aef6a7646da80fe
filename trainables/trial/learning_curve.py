"""The curve of a training: the loss on its validation rows, and the texts of some of them, after some of its steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trainables.config import TrialConfig
from trainables.decoding.generate import Completion
from trainables.scoring.metrics import means
from trainables.scoring.stored_lines import scores_of
from trainables.tokenization.token_rows import TokenRow
from trainables.tokenization.tokenized_corpus import TokenizedExamples
from trainables.trial.evaluate import RowReader, losses_of_texts, mean_loss


@dataclass
class LearningCurve:
    """The validation losses and texts of one trial as it trains; `known` and `written` are of the weights read last."""

    trial: TrialConfig
    tokenized: TokenizedExamples
    known: dict[TokenRow, tuple[float, int] | None] = field(default_factory=dict)
    written: dict[TokenRow, Completion | str] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget what was read: the trial has other weights now."""
        self.known, self.written = {}, {}

    def loss(self, reader: RowReader, writes_too: bool) -> tuple[float | None, int]:
        """Return the loss per token and the number of rows; `writes_too`: the texts of this step are due next."""
        self.forget()
        count = self.trial.evaluation.on_curve
        if not count:
            return None, 0
        # Nothing is kept free for a text here: the curve, and the best step by it, do not depend on the decoding.
        rows = self.tokenized.evaluation_rows(self.trial.train, "validation", count, 0)
        if writes_too:
            # Writing reads the prompts with their references: what is due in a moment gives these losses too.
            self._write(reader)
            self.known = losses_of_texts(self.written)
        missing = [row for row in rows if row not in self.known]
        self.known |= dict(zip(missing, reader.losses(missing), strict=True))
        found = [self.known[row] for row in rows]
        return mean_loss(found), sum(one is not None for one in found)

    def texts(self, reader: RowReader) -> dict[str, Any]:
        """Return the mean scores of this step's texts."""
        if not self.written:
            self._write(reader)
        evaluation, count = self.trial.evaluation, self.trial.train.generate_examples
        scores = []
        examples = self.tokenized.evaluation_examples(self._split, count)
        for example, row in zip(examples, self._rows_to_write(), strict=True):
            one = self.written[row]
            text = "" if isinstance(one, str) else reader.encoder.decode(one.ids).strip()
            scores.append(scores_of({"text": text}, example.references, evaluation))
        return {"examples": len(scores), **means(scores)}

    @property
    def _split(self) -> str:
        return "validation" if self.trial.evaluation.on_curve else "test"

    def _rows_to_write(self) -> list[TokenRow]:
        train, room = self.trial.train, self.trial.evaluation.max_new_tokens
        return self.tokenized.evaluation_rows(train, self._split, train.generate_examples, room)

    def _write(self, reader: RowReader) -> None:
        rows, evaluation = self._rows_to_write(), self.trial.evaluation
        texts = reader.texts(rows, evaluation.decoding, evaluation.max_new_tokens)
        self.written = dict(zip(rows, texts, strict=True))
