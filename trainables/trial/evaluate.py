"""Loss and texts of a model on token rows: what a trial's curves and its final evaluation are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from trainables.config import Decoding, EvalConfig, TrainConfig
from trainables.data.corpus import Example
from trainables.decoding.generate import Completion, Prompt, Writing, decoding_batches, generate_batch
from trainables.hardware.device_memory import is_lost, is_out_of_memory
from trainables.jobs import Control, Interrupted
from trainables.modeling.base_model import LoadedBase, arithmetic
from trainables.modeling.loss import BUCKET_TOKENS, LOSS_TOKENS, batches, bucket, collate, completion_nll, row_sums
from trainables.scoring.stored_lines import scores_of
from trainables.tokenization.encoder import Encoder
from trainables.tokenization.token_rows import TokenRow


class RowReader(Protocol):
    """Finds the losses of one trial's rows and writes their texts."""

    @property
    def encoder(self) -> Encoder: ...

    def losses(self, rows: Sequence[TokenRow]) -> list[tuple[float, int] | None]: ...

    def texts(self, rows: Sequence[TokenRow], decoding: Decoding, max_new_tokens: int) -> list[Completion | str]: ...


@dataclass(frozen=True)
class ModelReader:
    """Reads one trial's rows with a model that no other trial uses at the time."""

    base: LoadedBase
    encoder: Encoder
    train: TrainConfig
    device: str
    control: Control

    def arithmetic(self) -> Any:
        return arithmetic(self.train.precision, self.device)

    def losses(self, rows: Sequence[TokenRow]) -> list[tuple[float, int] | None]:
        return losses(self, rows)

    def texts(self, rows: Sequence[TokenRow], decoding: Decoding, max_new_tokens: int) -> list[Completion | str]:
        return texts(self, rows, decoding, max_new_tokens)


def losses(reader: ModelReader, rows: Sequence[TokenRow]) -> list[tuple[float, int] | None]:
    """Return (summed negative log-likelihood, tokens) per row, None for one that does not fit; raises Interrupted.

    Rows of equal padded length form a batch, so that no row's result depends on which others there are.
    """
    found: list[tuple[float, int] | None] = [None] * len(rows)
    fitting = [index for index, row in enumerate(rows) if row.fits]
    lengths = [len(rows[index].prompt_ids) + len(rows[index].target_ids) for index in fitting]
    budget = LOSS_TOKENS[reader.device.split(":")[0]]
    reader.base.model.eval()
    for group in batches(lengths, lambda width: max(1, budget // width), BUCKET_TOKENS):
        if reader.control() == "interrupt":
            raise Interrupted("interrupted while evaluating the loss")
        indices = [fitting[position] for position in group]
        batch = collate([rows[index] for index in indices], reader.encoder.pad_id).to(reader.device)
        with torch.no_grad(), reader.arithmetic():
            nll_N = completion_nll(reader.base, batch)
        for index, result in zip(indices, row_sums(nll_N, batch, len(indices)), strict=True):
            found[index] = result
    return found


def mean_loss(found: Sequence[tuple[float, int] | None]) -> float | None:
    """Return the loss per token over all rows, None where no row fits."""
    tokens = sum(result[1] for result in found if result)
    return sum(result[0] for result in found if result) / tokens if tokens else None


def texts(
    reader: ModelReader, rows: Sequence[TokenRow], decoding: Decoding, max_new_tokens: int
) -> list[Completion | str]:
    """Return per row what was written, or in one line why that failed; raises Interrupted and out-of-memory errors."""
    found: list[Completion | str] = ["" if row.fits else "the example does not fit" for row in rows]
    fitting = [index for index, row in enumerate(rows) if row.fits]
    encoder = reader.encoder
    writing = Writing(decoding, max_new_tokens, encoder.eos_ids, encoder.pad_id, reader.train.seed, reader.device)
    reader.base.model.eval()
    failures = 0
    prompts = [Prompt(row.example_id, row.prompt_ids, None, row.target_ids) for row in (rows[i] for i in fitting)]
    groups = decoding_batches(reader.base, prompts, writing.rows, writing)
    for group in groups:
        if reader.control() == "interrupt":
            raise Interrupted("interrupted between generations")
        indices = [fitting[position] for position in group]
        asked = [prompts[position] for position in group]
        results: Sequence[Completion | str]
        try:
            with reader.arithmetic():
                results = generate_batch(reader.base, asked, writing, reader.control)
        except Interrupted:
            raise
        except (RuntimeError, IndexError, ValueError) as error:
            failures += 1
            if failures == len(groups) or is_out_of_memory(error) or is_lost(reader.device):
                raise
            results = [f"{type(error).__name__}: {error}".splitlines()[0]] * len(indices)
        for index, result in zip(indices, results, strict=True):
            found[index] = result
    return found


def predictions(
    reader: RowReader,
    rows: Mapping[str, Sequence[TokenRow]],
    examples: Mapping[str, Sequence[Example]],
    evaluation: EvalConfig,
    known: Mapping[TokenRow, tuple[float, int] | None],
    known_texts: Mapping[TokenRow, Completion | str],
) -> dict[str, list[dict[str, Any]]]:
    """Return the prediction lines of every split; what is known are losses and texts of these very weights.

    The prompts of all splits decode together, which is faster, and where decoding has read the references too, their
    losses are known by then. Else losses are computed split by split, so that a split's are the same numbers whether
    known from a curve or not.
    """
    flat = [row for split in evaluation.examples for row in rows[split]]
    sources = [example for split in evaluation.examples for example in examples[split]]
    text_of: dict[TokenRow, Completion | str] = {
        row: one for row, one in known_texts.items() if isinstance(one, Completion)
    }
    unwritten = [row for row in flat if row not in text_of]
    if unwritten:
        texts = reader.texts(unwritten, evaluation.decoding, evaluation.max_new_tokens)
        text_of |= dict(zip(unwritten, texts, strict=True))
    loss_of = losses_of_texts(text_of)
    for split in evaluation.examples:
        missing = [row for row in rows[split] if row not in loss_of]
        if all(row in known for row in missing):
            loss_of |= {row: known[row] for row in missing}
        else:
            loss_of |= dict(zip(missing, reader.losses(missing), strict=True))
    found = [
        _line(reader.encoder, row, example, loss_of[row], text_of[row], evaluation)
        for row, example in zip(flat, sources, strict=True)
    ]
    lines = iter(found)
    return {split: [next(lines) for _ in rows[split]] for split in evaluation.examples}


def losses_of_texts(written: Mapping[TokenRow, Completion | str]) -> dict[TokenRow, tuple[float, int] | None]:
    """Return the losses of the references that were found on the way to the texts."""
    return {row: one.loss for row, one in written.items() if isinstance(one, Completion) and one.loss is not None}


def _line(
    encoder: Encoder,
    row: TokenRow,
    example: Example,
    loss: tuple[float, int] | None,
    written: Completion | str,
    evaluation: EvalConfig,
) -> dict[str, Any]:
    failed = isinstance(written, str)
    line: dict[str, Any] = {
        "id": row.example_id,
        "text": "" if isinstance(written, str) else encoder.decode(written.ids).strip(),
        "new_tokens": 0 if isinstance(written, str) else len(written.ids),
        "ended": "error" if isinstance(written, str) else written.ended,
        "source_tokens_cut": row.source_tokens_cut,
        "nll": loss[0] if loss else None,
        "nll_tokens": loss[1] if loss else 0,
    }
    if failed:
        line["cause"] = written
    return {**line, "scores": scores_of(line, example.references, evaluation)}


def longest(rows: Sequence[TokenRow], count: int) -> list[TokenRow]:
    """Return the `count` longest rows by padded length."""
    return sorted(rows, key=lambda row: -bucket(len(row.prompt_ids) + len(row.target_ids)))[:count]
