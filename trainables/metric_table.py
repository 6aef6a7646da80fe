"""Every metric, once: how it is computed, what it is called, how it is written, and what it may decide (no torch).

ROUGE is `rouge_score`'s, per example, as F-measures from 0 to 1, stemmed (`rougeL`: what most papers print) and not
(`rougeL_unstemmed`: equal to ROUGE-1.5.5); `rouge_pr` adds their precision and recall, under names of their own. chrF
and BLEU are sacrebleu's. A further metric is an entry of `METRICS` with its function: options, tables, model card,
LaTeX and sentences read them from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any, Literal

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
UNSTEMMED = "_unstemmed"
PRECISION, RECALL = "_precision", "_recall"
EXTERNAL = "evaluate_"  # begins the name of every score of the `evaluate` library
BERTSCORE = f"{EXTERNAL}bertscore"
DEFAULT = "rougeL"
LOSS = "eval_loss"


@dataclass(frozen=True)
class Metric:
    """A score of an evaluation: records hold fractions from 0 to 1, and losses in nats per token."""

    name: str  # in records, files and options
    title: str  # in sentences
    short: str  # in the heads of tables
    family: str = ""  # what an evaluation names to have it, see `EvalConfig.metrics`; empty: every evaluation has it
    kind: Literal["text", "loss"] = "text"
    lower_is_better: bool = False
    can_choose: bool = True  # among the configurations of a sweep
    column_rank: int | None = None  # as in `Column.rank`; None: a column for programs alone, unless it chooses
    on_card: bool = True  # of an exported adapter; what chose is always there
    compute: Callable[[str, Sequence[str]], float] | None = None  # from text and references; None: not one by one
    about: Callable[[], str] | None = None  # says how it is computed

    @property
    def style(self) -> str:
        """Return the format of its cells."""
        return "points" if self.kind == "text" else "loss"

    @property
    def scale(self) -> float:
        """Return by what its values in records are multiplied for people and in files."""
        return 100.0 if self.kind == "text" else 1.0

    @property
    def unit(self) -> str:
        """Return the unit of its scaled values."""
        return "points" if self.kind == "text" else "nats per token"


def metric_of(name: str) -> Metric:
    """Return the metric of a score; one of the `evaluate` library is in no table."""
    title = _external_title(name)
    return BY_NAME.get(name) or Metric(name, title, title, family="evaluate", on_card=False)


def is_missing(name: str, families: Sequence[str]) -> bool:
    """Tell whether a score has a family of its own, and an evaluation of `families` is without it."""
    one = metric_of(name)
    return one.compute is not None and one.family not in families


def names_of(families: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the scores that `families` give, in the order of the tables; those of `evaluate` are none."""
    return tuple(one.name for one in METRICS if one.family in families and one.kind == "text")


def rouge_words(text: str, stem: bool = True) -> list[str]:
    """Return the tokens that ROUGE compares."""
    return list(_words(text, stem))


def rouge(prediction: str, references: Sequence[str], stem: bool) -> dict[str, tuple[float, float, float]]:
    """Return precision, recall and F of each type on the reference with the highest F."""
    best = dict.fromkeys(ROUGE_TYPES, (0.0, 0.0, 0.0))
    for reference in references:
        # On texts of one line Lsum equals L, and its table is as slow to fill.
        several_lines = "\n" in prediction.strip("\n") or "\n" in reference.strip("\n")
        found = _scorer(stem, several_lines).score(reference, prediction)
        for name in ROUGE_TYPES:
            one = found["rougeL" if name == "rougeLsum" and not several_lines else name]
            if one.fmeasure > best[name][2]:
                best[name] = (float(one.precision), float(one.recall), float(one.fmeasure))
    return best


def chrf(prediction: str, references: Sequence[str]) -> float:
    """Return chrF2, the best over the references."""
    return float(_chrf().sentence_score(prediction, list(references)).score) / 100


def bleu(prediction: str, references: Sequence[str]) -> float:
    """Return BLEU of one text, its n-grams taken from all references, as it is defined."""
    # A text that equals its reference is given 100.00000000000004.
    return min(float(_bleu().sentence_score(prediction, list(references)).score) / 100, 1.0)


def _about_chrf() -> str:
    return f"chrF: sacrebleu {version('sacrebleu')}, chrF2, 6 characters, no words"


def _about_bleu() -> str:
    return (
        f"BLEU: sacrebleu {version('sacrebleu')}, of each example by itself with effective order, smoothing exp, "
        "tokens 13a, case kept, divided by 100; several references together"
    )


def _beside_rouge(name: str, title: str, family: str = "rouge") -> Metric:
    """Return a measure that stands beside a ROUGE's stemmed F: stored, for programs alone."""
    return Metric(name, title, title, family, can_choose=False, on_card=False)


_ROUGE = (
    Metric("rouge1", "ROUGE-1", "R-1", "rouge", column_rank=2),
    Metric("rouge2", "ROUGE-2", "R-2", "rouge", column_rank=5),
    Metric("rougeL", "ROUGE-L", "R-L", "rouge", column_rank=0),
    Metric("rougeLsum", "ROUGE-Lsum", "R-Lsum", "rouge"),
)
_BESIDE_ROUGE = (
    *(_beside_rouge(one.name + UNSTEMMED, f"unstemmed {one.title}") for one in _ROUGE),
    *(
        _beside_rouge(
            one.name + part + end, f"{'unstemmed ' if end else ''}{one.title}{part.replace('_', ' ')}", "rouge_pr"
        )
        for end in ("", UNSTEMMED)
        for one in _ROUGE
        for part in (PRECISION, RECALL)
    ),
)
METRICS = (
    *_ROUGE,
    *_BESIDE_ROUGE,
    Metric("chrf", "chrF", "chrF", "chrf", column_rank=4, compute=chrf, about=_about_chrf),
    Metric("bleu", "BLEU", "BLEU", "bleu", column_rank=4, compute=bleu, about=_about_bleu),
    Metric(LOSS, "evaluation loss", "loss", kind="loss", lower_is_better=True, column_rank=3),
)
BY_NAME = {one.name: one for one in METRICS}
FAMILIES = tuple(dict.fromkeys(one.family for one in METRICS if one.family))
CHOOSING = (DEFAULT, *(one.name for one in METRICS if one.can_choose and one.name != DEFAULT))
LOWER_IS_BETTER = frozenset(one.name for one in METRICS if one.lower_is_better)


def _external_title(name: str) -> str:
    if name.startswith(BERTSCORE):
        return f"BERTScore{name.removeprefix(BERTSCORE).replace('f1', 'F1').replace('_', ' ')}"
    return f"{name.removeprefix(EXTERNAL)} (evaluate)" if name.startswith(EXTERNAL) else name


class _Tokenizer:
    """rouge_score's tokenizer with a memory: a reference is scored against many texts, by many trials."""

    def __init__(self, stem: bool) -> None:
        self.stem = stem

    def tokenize(self, text: str) -> tuple[str, ...]:
        return _words(text, self.stem)


class _Stemmer:
    """The Porter stemmer of rouge_score, each word stemmed once."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem = cache(PorterStemmer().stem)


@lru_cache(maxsize=20_000)
def _words(text: str, stem: bool) -> tuple[str, ...]:
    from rouge_score import tokenize

    return tuple(tokenize.tokenize(text, _stemmer() if stem else None))


@cache
def _stemmer() -> _Stemmer:
    return _Stemmer()


@cache
def _scorer(stem: bool, several_lines: bool) -> Any:
    # nltk, which rouge_score brings, takes most of a second to import.
    from rouge_score import rouge_scorer

    types = [name for name in ROUGE_TYPES if several_lines or name != "rougeLsum"]
    return rouge_scorer.RougeScorer(types, tokenizer=_Tokenizer(stem))


@cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


@cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(effective_order=True)
