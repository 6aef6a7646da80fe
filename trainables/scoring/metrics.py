"""Scores of one generated text against its references, and how they were made (no torch).

ROUGE is `rouge_score`'s, per example, as F-measures from 0 to 1, stemmed (`rougeL`: what most papers print) and not
(`rougeL_unstemmed`: equal to ROUGE-1.5.5); `rouge_pr` adds their precision and recall, under names of their own. chrF
and BLEU are sacrebleu's. The score of a corpus is the plain mean over its examples.
"""

from __future__ import annotations

import hashlib
import math
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainables.config import EvalConfig, External, external_of
from trainables.scoring import bertscore

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
UNSTEMMED = "_unstemmed"
PRECISION, RECALL = "_precision", "_recall"


def score_names(metrics: Sequence[str] = ("rouge",)) -> tuple[str, ...]:
    """Return the names of the scores that `metrics` give, in the order of the tables."""
    return (*own_score_names(metrics), *(one.score_name for metric in metrics if (one := external_of(metric))))


def own_score_names(metrics: Sequence[str] = ("rouge",)) -> tuple[str, ...]:
    """Return the names of the scores that `score` gives; those of `evaluate` metrics are stored alone."""
    names: list[str] = []
    if "rouge" in metrics:
        names += [*ROUGE_TYPES, *(name + UNSTEMMED for name in ROUGE_TYPES)]
    if "rouge_pr" in metrics:
        names += [name + part + end for end in ("", UNSTEMMED) for name in ROUGE_TYPES for part in (PRECISION, RECALL)]
    names += [name for name in ("chrf", "bleu") if name in metrics]
    return tuple(names)


def score(prediction: str, references: Sequence[str], metrics: Sequence[str] = ("rouge",)) -> dict[str, float]:
    """Score one text: each score is its maximum over the references; an empty text scores 0.

    Precision and recall are those on the reference with the highest F, so that the three belong together; BLEU takes
    its n-grams from all references, as it is defined.

    Raises:
        ValueError: there is no reference.
    """
    if not references:
        raise ValueError("a text cannot be scored without a reference")
    scores: dict[str, float] = {}
    if "rouge" in metrics or "rouge_pr" in metrics:
        found = {ending: _rouge(prediction, references, stem=not ending) for ending in ("", UNSTEMMED)}
        if "rouge" in metrics:
            scores |= {name + ending: one[2] for ending, every in found.items() for name, one in every.items()}
        if "rouge_pr" in metrics:
            for ending, every in found.items():
                for name, (precision, recall, _) in every.items():
                    scores |= {name + PRECISION + ending: precision, name + RECALL + ending: recall}
    if "chrf" in metrics:
        scores["chrf"] = _chrf().sentence_score(prediction, list(references)).score / 100
    if "bleu" in metrics:
        # A text that equals its reference is given 100.00000000000004.
        scores["bleu"] = min(_bleu().sentence_score(prediction, list(references)).score / 100, 1.0)
    return scores


def means(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the plain mean of every score over all rows; every row must hold the same scores."""
    rows = list(rows)
    if not rows:
        return {}
    names = rows[0].keys()
    assert all(row.keys() == names for row in rows), "rows hold different scores"
    # fsum: the mean does not depend on the order of the rows.
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in names}


def signature(metrics: Sequence[str], evaluation: EvalConfig | None = None) -> str:
    """Say how the scores were made: package, stemming, tokens, sentences, references, mean, and length limit."""
    parts = []
    if "rouge" in metrics or "rouge_pr" in metrics:
        measures = "F-measure"
        if "rouge_pr" in metrics:
            measures = "precision and recall on the reference with the highest F"
            measures = f"F-measure, {measures}" if "rouge" in metrics else measures
        parts.append(
            f"ROUGE: rouge_score {version('rouge_score')}, {measures}, Porter stemmer on words over 3 letters "
            "(*_unstemmed: none), tokens [a-z0-9]+ in lower case, sentences of Lsum split at newlines only"
        )
    if "chrf" in metrics:
        parts.append(f"chrF: sacrebleu {version('sacrebleu')}, chrF2, 6 characters, no words")
    if "bleu" in metrics:
        parts.append(
            f"BLEU: sacrebleu {version('sacrebleu')}, of each example by itself with effective order, smoothing exp, "
            "tokens 13a, case kept, divided by 100; several references together"
        )
    every = [one for metric in metrics if (one := external_of(metric))]
    parts += [_about_bertscore(one) for one in every if one.location == bertscore.NAME]
    if external := [one for one in every if one.location != bertscore.NAME]:
        parts.append(f"evaluate {version('evaluate')}, of each example by itself: {', '.join(map(_about, external))}")
    parts.append("several references: maximum per score")
    parts.append("mean over all examples, empty and failed texts 0")
    if evaluation is not None:
        parts.append(f"{_decoding(evaluation)}, at most {evaluation.max_new_tokens} new tokens")
    return "; ".join(parts)


def is_unseen(references: Sequence[str]) -> bool:
    """Tell whether ROUGE sees next to no words in an example's references: its tokens are a to z and digits.

    Of a text in another script it may see clock times and a brand, and would judge by these alone: what counts is
    whether most letters are among its own. A text of digits alone is seen.
    """
    text = "\n".join(references).lower()
    seen = sum(map(text.count, string.ascii_lowercase))
    if seen and text.isascii():
        return False
    letters = sum(map(str.isalpha, text))
    return 2 * seen < letters if letters else not re.search("[0-9]", text)


def mostly_unseen(every: Sequence[Sequence[str]]) -> bool:
    """Tell whether ROUGE sees next to no words in most examples, by their references: it can then choose nothing."""
    return 2 * sum(map(is_unseen, every)) > len(every)


def words(text: str, stem: bool = True) -> list[str]:
    """Return the tokens that ROUGE compares."""
    return list(_words(text, stem))


def _about_bertscore(metric: External) -> str:
    folder = Path(str(metric.options.get("model", "")))
    config = folder / "config.json"
    digest = f" (config {hashlib.sha256(config.read_bytes()).hexdigest()[:8]})" if config.is_file() else ""
    layer = metric.options.get("layer", "last")
    return (
        f"{metric.score_name}: BERTScore by {folder.name}{digest}, layer {layer}, transformers "
        f"{version('transformers')}, no idf, not rescaled"
    )


def _about(metric: External) -> str:
    """Name a metric of evaluate, its options, and the content of its script: its path differs between machines."""
    place = Path(metric.location)
    scripts = sorted(place.glob("*.py")) if place.is_dir() else [place] if place.is_file() else []
    content = hashlib.sha256()
    for script in scripts:
        content.update(script.read_bytes())
    parts = [metric.score_name]
    parts += [f"divided by {metric.divisor}"] if metric.divisor > 1 else []
    parts += [f"with {name}={Path(str(value)).name}" for name, value in sorted(metric.options.items())]
    return " ".join([*parts, *([f"(script {content.hexdigest()[:8]})"] if scripts else [])])


def _decoding(evaluation: EvalConfig) -> str:
    decoding = evaluation.decoding
    text = {"greedy": "greedy", "beam": f"beam search of {decoding.num_beams}", "sample": "sampling"}[decoding.strategy]
    if decoding.strategy == "sample":
        text += f" (temperature {decoding.temperature:g}, top-k {decoding.top_k}, top-p {decoding.top_p:g})"
    if decoding.repetition_penalty != 1:
        text += f" with repetition penalty {decoding.repetition_penalty:g}"
    return text


def _rouge(prediction: str, references: Sequence[str], stem: bool) -> dict[str, tuple[float, float, float]]:
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
