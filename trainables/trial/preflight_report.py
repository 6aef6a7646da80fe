"""What a preflight measured on its way: plain, picklable types (no torch)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trainables.tokenization.prompt_lengths import PromptLengths


@dataclass(frozen=True)
class EndTokens:
    """The end of a model's texts: the id that is trained, and all that stop a text."""

    trained: int
    stop: tuple[int, ...]


@dataclass(frozen=True)
class GenerationCheck:
    """Texts that the base wrote for some examples of a prompt; `prompt_tokens` are the fewest and the most."""

    prompt: str
    examples: int
    empty: int
    prompt_tokens: tuple[int, int]
    seconds: float


@dataclass(frozen=True)
class StepCheck:
    """The longest batch of a base, forward and backward once; only `out_of_memory` where there was no room for it."""

    tokens: int = 0
    loss: float | None = None
    gradient_norm: float | None = None
    seconds: float = 0.0
    out_of_memory: str | None = None


@dataclass(frozen=True)
class PreflightReport:
    """What was found on the way; `said` are sentences for the user."""

    trials: int
    ends: tuple[EndTokens, ...] = ()
    lengths: tuple[PromptLengths, ...] = ()
    prompts: tuple[GenerationCheck, ...] = ()
    training: tuple[StepCheck, ...] = ()
    said: tuple[str, ...] = ()
    base_dropout_switched_off: Mapping[str, float] = field(default_factory=dict)  # name in the configuration -> rate
    seconds: float = 0.0
