"""BERTScore (Zhang et al. 2020) by a model on disk: each token is matched to the most alike one of the other text.

Without idf weights and not rescaled to a baseline, as bert_score computes it by default; tokens that the tokenizer adds
can be matched and do not count. It loads torch, so it runs where `trainables.scoring.evaluate_library` runs metrics.

Shapes: T tokens of a text, D width of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from trainables.errors import UserError, nearest
from trainables.model_files.weight_differences import WeightDifferences, differences_problem
from trainables.model_files.weight_files import adapter_problem

NAME = "bertscore"
KEYS = ("f1", "precision", "recall")
OPTIONS = ("model", "layer")
AS_IN_BERT_SCORE = {"model_type": "model", "num_layers": "layer"}
HOW = f"write evaluate:{NAME}#f1?model=FOLDER, the folder of an encoder (and &layer=N for another layer than the last)"
TokenVectors = tuple[Any, Any]
"""Unit vectors (T, D) and which of them count (T,)."""


def scores(key: str, options: dict[str, Any], pairs: Sequence[tuple[str, Sequence[str]]]) -> list[float]:
    """Return the score of each (text, references), the best over its references.

    Raises:
        UserError: no model is given, or what is given is none.
    """
    options = {AS_IN_BERT_SCORE.get(name, name): value for name, value in options.items()}
    for name in options:
        if name not in OPTIONS:
            raise UserError(f"has no option {name!r}; {nearest(name, OPTIONS)}")
    if (key or KEYS[0]) not in KEYS:
        raise UserError(f"has no number {key!r}; {nearest(key, KEYS)}")
    if not options.get("model"):
        raise UserError(f"needs a model: {HOW}")
    folder = Path(str(options["model"])).expanduser()
    if not (folder / "config.json").is_file():
        raise UserError(f"needs a model, and {folder} is no folder of one; {HOW}")
    place = KEYS.index(key or KEYS[0])
    layer = int(options.get("layer", -1))
    return [
        max(score(_encode(str(folder), layer, text), _encode(str(folder), layer, one))[place] for one in references)
        for text, references in pairs
    ]


def score(ours: TokenVectors, theirs: TokenVectors) -> tuple[float, float, float]:
    """Return F1, precision and recall of a text against a reference; 0 where either has no token that counts."""
    (text_TD, counts_T), (reference_TD, others_T) = ours, theirs
    if not counts_T.any() or not others_T.any():
        return 0.0, 0.0, 0.0
    alike_TT = text_TD @ reference_TD.T
    precision = max(float(alike_TT.max(dim=1).values[counts_T].mean()), 0.0)
    recall = max(float(alike_TT.max(dim=0).values[others_T].mean()), 0.0)
    both = precision + recall
    return (2 * precision * recall / both if both else 0.0), precision, recall


@cache
def _model(folder: str) -> tuple[Any, Any, int]:
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    from trainables.model_files.load_pretrained import check_finite

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        model, found = AutoModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"cannot load the model in {folder}: {' '.join(str(error).split())}") from None
    # What pools a text is not used, and many a model was saved without it.
    missing = WeightDifferences(missing=tuple(name for name in found["missing_keys"] if "pooler" not in name))
    problem = adapter_problem(Path(folder)) or differences_problem(Path(folder), missing)
    if problem:
        raise UserError(problem)
    model = model.float().eval()
    check_finite(folder, model, "fp32")
    return model, tokenizer, int(getattr(config, "max_position_embeddings", None) or 512)


@cache
def _encode(folder: str, layer: int, text: str) -> TokenVectors:
    import torch

    model, tokenizer, longest = _model(folder)
    found = tokenizer(text, return_special_tokens_mask=True, truncation=True, max_length=min(longest, 512))
    ids = found["input_ids"]
    counts_T = torch.tensor(found["special_tokens_mask"]) == 0
    if not ids:
        return torch.zeros(0, 1), counts_T
    with torch.no_grad():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    if not -len(states) <= layer < len(states):
        raise UserError(f"has no layer {layer}: {folder} has layers 0 to {len(states) - 1}")
    return torch.nn.functional.normalize(states[layer][0], dim=-1), counts_T
