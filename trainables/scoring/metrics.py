"""Scores of one generated text against its references, and how they were made (no torch).

Each metric is computed in `trainables.metric_table`. The score of a corpus is the plain mean over its examples.
"""

from __future__ import annotations

import hashlib
import math
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from trainables.config import EvalConfig, External, external_of
from trainables.metric_table import METRICS, PRECISION, RECALL, UNSTEMMED, names_of, rouge
from trainables.scoring import bertscore


def score_names(metrics: Sequence[str] = ("rouge",)) -> tuple[str, ...]:
    """Return the names of the scores that `metrics` give, in the order of the tables."""
    return (*names_of(metrics), *(one.score_name for metric in metrics if (one := external_of(metric))))


def score(prediction: str, references: Sequence[str], metrics: Sequence[str] = ("rouge",)) -> dict[str, float]:
    """Score one text: each score is its maximum over the references; an empty text scores 0.

    Precision and recall are those on the reference with the highest F, so that the three belong together.

    Raises:
        ValueError: there is no reference.
    """
    if not references:
        raise ValueError("a text cannot be scored without a reference")
    scores: dict[str, float] = {}
    if "rouge" in metrics or "rouge_pr" in metrics:
        found = {ending: rouge(prediction, references, stem=not ending) for ending in ("", UNSTEMMED)}
        if "rouge" in metrics:
            scores |= {name + ending: one[2] for ending, every in found.items() for name, one in every.items()}
        if "rouge_pr" in metrics:
            for ending, every in found.items():
                for name, (precision, recall, _) in every.items():
                    scores |= {name + PRECISION + ending: precision, name + RECALL + ending: recall}
    for one in METRICS:
        if one.compute is not None and one.family in metrics:
            scores[one.name] = one.compute(prediction, references)
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
    parts += [one.about() for one in METRICS if one.about is not None and one.family in metrics]
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
