"""Texts from a model: greedy, beam and sampled decoding whose rows never feel each other.

Decoding itself is transformers' `generate`. Prompts of any length decode together from states that were read without
padding (see `prefill`). Beams start from such states too, but their prompts are padded on the left to a bucket fixed by
their own length and batched with prompts of the same bucket; so are all where a base does not bear that. Two things
that the library does per batch are done per row here: the repetition penalty leaves padding out (padding is often the
end-of-text, so a penalty on it would lengthen texts), and sampling adds Gumbel noise keyed by (trial seed, example,
position) to the warped logits and takes the largest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.config import Decoding
from trainables.decoding.prefill import Filler, filler_of, read_prompts
from trainables.decoding.token_graph import token_steps
from trainables.jobs import Control, Interrupted
from trainables.kv_cache.beam_states import BeamFiller
from trainables.kv_cache.preallocated import preallocated_cache
from trainables.modeling.base_model import LoadedBase
from trainables.modeling.loss import LOSS_TOKENS, batches, bucket
from trainables.modeling.peft_lora import seed_of
from trainables.modeling.rotary_positions import crosses
from trainables.tokenization.token_rows import TokenRow

PROMPT_BUCKET_TOKENS = 32
ROWS = {"cpu": 32, "cuda": 64}  # prompts that decode together, beams counted
LEAST_ROWS = 4  # fewer are not worth another call
POLL_TOKENS = 8


@dataclass(frozen=True)
class Prompt:
    """The prompt of one text; `seed` is its trial's where several trials' texts are written together."""

    example_id: str
    ids: tuple[int, ...]
    seed: int | None = None
    target_ids: tuple[int, ...] = ()  # of its reference, whose loss is found while the prompt is read


@dataclass(frozen=True)
class Completion:
    """The tokens written, end-of-text left out, and how they ended: "eos" or "length"."""

    ids: tuple[int, ...]
    ended: str
    loss: tuple[float, int] | None = None  # of the reference: summed negative log-likelihood, tokens; None: not read


@dataclass(frozen=True)
class Writing:
    """How all texts of an evaluation are written: strategy, lengths, ends and seed."""

    decoding: Decoding
    max_new_tokens: int
    eos_ids: tuple[int, ...]  # any of them ends a text
    pad_id: int
    seed: int
    device: str = "cpu"
    read_tokens: int | None = None  # padded, of prompts that are read at once; None: as many as for losses

    @property
    def rows(self) -> int:
        """Prompts that decode together."""
        rows = ROWS[self.device.split(":")[0]]
        return max(1, rows // self.decoding.num_beams) if self.decoding.strategy == "beam" else rows


class PenaltyWithoutPadding:
    """Divides positive and multiplies negative logits of tokens already in the row; padding is no token of the row."""

    def __init__(self, penalty: float, padding_R: Tensor) -> None:
        self.penalty = penalty
        self.padding_R = padding_R  # tokens of padding on the left of each row (beams repeat theirs)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        vocabulary = scores.shape[1]
        columns = torch.arange(input_ids.shape[1], device=input_ids.device)
        padding = self.padding_R.repeat_interleave(input_ids.shape[0] // len(self.padding_R))
        ids = input_ids.masked_fill(columns < padding[:, None], vocabulary)
        seen = torch.zeros(scores.shape[0], vocabulary + 1, dtype=torch.bool, device=scores.device)
        seen = seen.scatter_(1, ids, True)[:, :vocabulary]
        return torch.where(seen, torch.where(scores < 0, scores * self.penalty, scores / self.penalty), scores)


class GumbelNoise:
    """Turns taking the largest into sampling: argmax(logits + Gumbel noise) is a draw from softmax(logits)."""

    def __init__(self, seeds: int | Sequence[int], example_ids: Sequence[str], prompt_width: int) -> None:
        each = [seeds] * len(example_ids) if isinstance(seeds, int) else seeds
        self.keys = list(zip(each, example_ids, strict=True))
        self.prompt_width = prompt_width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        position = input_ids.shape[1] - self.prompt_width
        noise = torch.empty_like(scores)
        generator = torch.Generator(scores.device)
        for row, (seed, example_id) in enumerate(self.keys):
            generator.manual_seed(seed_of("sample", seed, example_id, position))
            noise[row].exponential_(generator=generator)
        return scores - noise.log_()


class PollControl:
    """Asks `control` every few tokens, so that an interruption need not await the end of a batch."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self.calls = 0

    def __call__(self, input_ids: Tensor, scores: Tensor | None, **kwargs: Any) -> Tensor:
        self.calls += 1
        if self.calls % POLL_TOKENS == 0 and self.control() == "interrupt":
            raise Interrupted("interrupted while generating")
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


class HalfEnded:
    """Ends a call of `generate` once at most half of its rows are still going."""

    def __init__(self, eos_ids: Sequence[int], prompt_width: int) -> None:
        self.eos_ids = eos_ids
        self.prompt_width = prompt_width

    def __call__(self, input_ids: Tensor, scores: Tensor | None, **kwargs: Any) -> Tensor:
        written = input_ids[:, self.prompt_width :]
        going = torch.stack([(written != one).all(dim=1) for one in self.eos_ids]).all(dim=0)
        return (2 * going.sum() <= len(going)).expand(len(going))


def decoding_batches(base: LoadedBase, prompts: Sequence[Prompt], rows: int, writing: Writing) -> list[list[int]]:
    """Return indices of prompts that decode together, at most `rows`, the longest first.

    They are of equal padded length, unless the model decodes rows of unequal length without padding. A prompt whose
    rotary positions change while its text is written decodes alone: the library then reads it all again.
    """
    alone = [index for index, prompt in enumerate(prompts) if _crosses(base, prompt, writing)]
    others = [index for index in range(len(prompts)) if index not in set(alone)]
    lengths = [len(prompts[index].ids) for index in others]
    if not decodes_ragged(base, writing):
        found = batches(lengths, lambda width: rows, PROMPT_BUCKET_TOKENS)
    else:
        order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
        found = [sorted(order[start : start + rows]) for start in range(0, len(order), rows)]
    return [[others[position] for position in group] for group in found] + [[index] for index in alone]


def _crosses(base: LoadedBase, prompt: Prompt, writing: Writing) -> bool:
    boundary = base.capabilities.rotary_boundary_tokens
    return crosses(boundary, len(prompt.ids), max(writing.max_new_tokens, len(prompt.target_ids)))


def decodes_ragged(base: LoadedBase, writing: Writing) -> bool:
    """Tell whether these texts are written over a ragged cache; beams reorder theirs at every token."""
    return writing.decoding.strategy != "beam" and base.capabilities.ragged_cache


def generate_batch(
    base: LoadedBase,
    prompts: Sequence[Prompt],
    writing: Writing,
    control: Control,
    send: Callable[[Sequence[int]], None] | None = None,
) -> list[Completion]:
    """Return the completion of each prompt of one of `decoding_batches`. Raises Interrupted.

    Whenever half of the rows have ended, decoding goes on with the others alone: a few long texts would else have
    everyone's cost. A row's result does not depend on that, since rows never feel each other. `send` is told which
    prompts the rows of the model's next batches are.
    """
    from transformers import StoppingCriteriaList

    width = max(len(prompt.ids) for prompt in prompts)
    is_alone = len(prompts) == 1 and _crosses(base, prompts[0], writing)
    if not decodes_ragged(base, writing) and not is_alone:
        width = bucket(width, PROMPT_BUCKET_TOKENS)
    cache, losses = (None, None) if is_alone else _begin(base, prompts, writing, width, control, send)
    ids_BT, mask_BT = _padded(prompts, width, writing)
    found: dict[int, Completion] = {}
    rows = list(range(len(prompts)))
    while rows:
        criteria: list[Callable[..., Tensor]] = [PollControl(control)]
        if _goes_on_with_fewer(base.model, writing, len(rows)):
            criteria.append(HalfEnded(writing.eos_ids, width))
        if send is not None:
            send(rows)
        with token_steps(base, cache, base.capabilities.token_graphs):
            output = base.model.generate(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                past_key_values=cache,
                generation_config=_settings(writing, ids_BT.shape[1] - width),
                logits_processor=_processors(writing, [prompts[row] for row in rows], width),
                stopping_criteria=StoppingCriteriaList(criteria),
            )
        going = []
        for position, ids in enumerate(output.sequences[:, width:].tolist()):
            if _end(ids, writing) is None and len(ids) < writing.max_new_tokens:
                going.append(position)
            else:
                row = rows[position]
                found[row] = _completion(ids, writing, losses[row] if losses is not None else None)
        rows = [rows[position] for position in going]
        if rows:
            # The cache lacks the last token, which the next call feeds.
            index = torch.tensor(going, device=ids_BT.device)
            cache = output.past_key_values
            cache.batch_select_indices(index)
            grown = output.sequences.shape[1] - ids_BT.shape[1]
            ids_BT = output.sequences[index]
            mask_BT = torch.nn.functional.pad(mask_BT[index], (0, grown), value=1)
    return [found[row] for row in range(len(prompts))]


def _padded(prompts: Sequence[Prompt], width: int, writing: Writing) -> tuple[Tensor, Tensor]:
    """Return the prompts padded on the left (B, T), and where they are not padding."""
    ids_BT = torch.full((len(prompts), width), writing.pad_id, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for row, prompt in enumerate(prompts):
        ids_BT[row, width - len(prompt.ids) :] = torch.tensor(prompt.ids)
        mask_BT[row, width - len(prompt.ids) :] = 1
    return ids_BT.to(writing.device), mask_BT.to(writing.device)


def _settings(writing: Writing, written_tokens: int) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(
        max_new_tokens=writing.max_new_tokens - written_tokens,
        do_sample=False,
        num_beams=writing.decoding.num_beams if writing.decoding.strategy == "beam" else 1,
        pad_token_id=writing.pad_id,
        eos_token_id=list(writing.eos_ids),
        use_cache=True,
        return_dict_in_generate=True,
    )


def _goes_on_with_fewer(model: Any, writing: Writing, rows: int) -> bool:
    """Tell whether rows that have ended may leave the batch.

    A cache of recurrent states (Mamba) cannot be cut to some of its rows. On a GPU fewer rows are hardly faster, and
    would be multiplied by another kernel, which rounds otherwise.
    """
    is_cuttable = writing.decoding.strategy != "beam" and not getattr(model, "_is_stateful", False)
    return is_cuttable and rows > LEAST_ROWS and writing.device == "cpu"


def _begin(
    base: LoadedBase,
    prompts: Sequence[Prompt],
    writing: Writing,
    width: int,
    control: Control,
    send: Callable[[Sequence[int]], None] | None,
) -> tuple[Any, list[tuple[float, int] | None] | None]:
    """Return the cache to decode with, and the references' losses where the prompts have been read into it."""
    is_beam = writing.decoding.strategy == "beam"
    if not base.capabilities.ragged_cache:
        # Beams reorder the whole cache at every token: room would gain nothing there.
        return None if is_beam else preallocated_cache(base.model, width + writing.max_new_tokens), None
    filler: Filler
    if is_beam:
        filler = BeamFiller(len(prompts), width - 1, writing.decoding.num_beams)
    else:
        filler = filler_of(base.model, [len(prompt.ids) - 1 for prompt in prompts], writing.max_new_tokens)
    rows = [TokenRow(prompt.example_id, prompt.ids, prompt.target_ids, 0, True) for prompt in prompts]
    budget = writing.read_tokens or LOSS_TOKENS[writing.device.split(":")[0]]
    return read_prompts(base, rows, filler, width, writing.pad_id, budget, control, send)


def _processors(writing: Writing, prompts: Sequence[Prompt], width: int) -> Any:
    from transformers import (
        LogitsProcessorList,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    decoding = writing.decoding
    processors: list[Callable[[Tensor, Tensor], Tensor]] = []
    if decoding.repetition_penalty != 1.0:
        padding = torch.tensor([width - len(prompt.ids) for prompt in prompts], device=writing.device)
        processors.append(PenaltyWithoutPadding(decoding.repetition_penalty, padding))
    if decoding.strategy == "sample":
        if decoding.temperature != 1.0:
            processors.append(TemperatureLogitsWarper(decoding.temperature))
        if decoding.top_k:
            processors.append(TopKLogitsWarper(decoding.top_k))
        if decoding.top_p < 1.0:
            processors.append(TopPLogitsWarper(decoding.top_p))
        seeds = [writing.seed if prompt.seed is None else prompt.seed for prompt in prompts]
        processors.append(GumbelNoise(seeds, [prompt.example_id for prompt in prompts], width))
    return LogitsProcessorList(processors)


def _completion(ids: list[int], writing: Writing, loss: tuple[float, int] | None) -> Completion:
    end = _end(ids, writing)
    if end is not None:
        return Completion(tuple(ids[:end]), "eos", loss)
    return Completion(tuple(ids[: writing.max_new_tokens]), "length", loss)


def _end(ids: list[int], writing: Writing) -> int | None:
    """Return the place of the first end-of-text token, None without one."""
    return min((ids.index(one) for one in writing.eos_ids if one in ids), default=None)
