"""Writes the known answers anew: `python tests/known_answers/make.py`; with other versions their numbers may differ.

What public libraries say of texts, differences and chats that are written here, computed without this project. The
answers stand beside this file, so that they are compared wherever the tests run.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
POCKET = HERE.parents[1] / "trainables" / "pocket" / "model"

# A prediction and its references.
TEXTS: list[tuple[str, list[str]]] = [
    ("Anna will meet Ben at the station.", ["Anna will meet Ben at the station."]),
    ("Anna is meeting Ben near the stations.", ["Anna will meet Ben at the station."]),
    ("Ben meets Anna.", ["Anna will meet Ben at the station at 5.30 p.m. on Friday."]),
    ("The the the the the.", ["The cat sat on the mat."]),
    ("late is Zoë; trains running were moved", ["The running train moved: Zoë is late."]),
    ("Anna moves the meetings.\nShe is late again.", ["She was late.\nAnna moved the meeting to Monday."]),
    ("First line.\n\nSecond line, longer.", ["Second line.\nFirst line, which is longer."]),
    ("Jo's e-mail came at 10:45 - it's 3% more!", ["Jo's email came at 10.45; it is 3 % more."]),
    ("They agreed.", ["They agreed on Monday.", "Everyone agreed.", "They agreed"]),
    ("a b c d", ["b a d c", "a x b y c z d", "d c b a"]),
    ("!?", ["Anna is late"]),
    ("", ["Anna is late"]),
]

# Differences per example between two systems, in points of a score.
DIFFERENCES: dict[str, list[float]] = {
    "seven": [1.5, -0.25, 3.0, 0.75, 2.0, 1.25, -0.5],
    "ties": [0.0, 0.0, 4.0, 0.0, -2.0, 0.0, 6.5, 1.0],
    "nothing found": [2.0, -3.5, 1.0, 0.5, -2.25, 3.0, -1.0, 0.25, 1.75, -0.5, -1.25, 0.5],
    "thirty": [((7 * index) % 30 - 12) / 4 for index in range(30)],
}
P_VALUES = [0.001, 0.2, 0.012, 0.012, 0.04, 0.5, 0.9, 0.0004, 0.03]
MARGIN = 1.0
# So many of so many were preferred.
COUNTS = [(0, 10), (7, 10), (50, 100), (100, 100)]
RANKED = ([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0], [2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0, 8.0])

TEMPLATE = "Summarize the dialogue.\n\n{source}\n\nSummary:"
TRAIN = [
    ("Mia: Are you at home?\nTom: No, at the lake.\nMia: I left my keys at your place.", "Mia left her keys at Tom's."),
    ("Ada: The oven is broken.\nLeo: I'll call someone tomorrow.", "Leo will call someone about the oven tomorrow."),
    ("Kim: Lunch?\nRay: Yes, at one.\nKim: The usual place.", "Kim and Ray will have lunch at one."),
    ("Eva: My bus is late again.\nSam: Then we start without you.", "Sam starts without Eva, whose bus is late."),
]
VALIDATION = [
    ("Ida: Did you feed the cat?\nMax: Twice.", "Max fed the cat twice."),
    ("Lea: I need the car on Friday.\nJon: Take it, I'll go by bike.", "Jon lends Lea his car on Friday."),
]
RANK, ALPHA, STEPS, RATE, NEW_TOKENS = 2, 16.0, 6, 1e-2, 12


def start(name: str, shape: Sequence[int]) -> list[list[float]]:
    """Return the start of an adapter's A in a layer: small fractions of 1024, the same everywhere."""
    number = sum(name.encode())
    return [[((row * 131 + column * 37 + number * 17) % 129 - 64) / 1024 for column in range(shape[1])]
            for row in range(shape[0])]  # fmt: skip


def versions(*names: str) -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in names}


def rounded(value: Any) -> Any:
    """Return numbers with ten digits."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return float(f"{float(value):.10g}")


def scores() -> dict[str, Any]:
    """ROUGE by rouge_score, the best F of each kind over the references; chrF and BLEU of a sentence by sacrebleu."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import sentence_bleu, sentence_chrf

    def of(text: str, references: list[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for ending, stems in (("", True), ("_unstemmed", False)):
            scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=stems)
            for name, value in scorer.score_multi(references, text).items():
                found[name + ending] = value.fmeasure
        found["chrf"] = sentence_chrf(text, references).score / 100
        found["bleu"] = sentence_bleu(text, references, use_effective_order=True).score / 100
        return {"text": text, "references": references, "scores": rounded(found)}

    return {"versions": versions("rouge_score", "sacrebleu"), "answers": [of(*one) for one in TEXTS]}


def statistics() -> dict[str, Any]:
    """Tests of paired differences by scipy, corrections and intervals by statsmodels."""
    import numpy as np
    from scipy import stats
    from statsmodels.stats.multitest import multipletests
    from statsmodels.stats.proportion import proportion_confint
    from statsmodels.stats.weightstats import DescrStatsW

    def pair(values: list[float]) -> dict[str, Any]:
        found = stats.ttest_1samp(values, 0.0)
        interval = found.confidence_interval(0.95)
        resamples = np.inf if len(values) < 13 else 99_999
        how: dict[str, Any] = {"n_resamples": resamples, "rng": np.random.default_rng(0)}
        flips = stats.permutation_test((np.array(values),), np.mean, permutation_type="samples", **how)
        equivalence = DescrStatsW(values).ttost_mean(-MARGIN, MARGIN)[0]
        numbers = {"p": found.pvalue, "low": interval.low, "high": interval.high, "p_flip": flips.pvalue}
        return {"differences": values, **rounded({**numbers, "p_equivalent": equivalence})}

    shares = [
        {"count": count, "of": of, "interval": rounded(proportion_confint(count, of, method="wilson"))}
        for count, of in COUNTS
    ]
    return {
        "versions": versions("numpy", "scipy", "statsmodels"),
        "pairs": {name: pair(values) for name, values in DIFFERENCES.items()},
        "margin": MARGIN,
        "p": P_VALUES,
        "holm": rounded(list(multipletests(P_VALUES, method="holm")[1])),
        "benjamini_hochberg": rounded(list(multipletests(P_VALUES, method="fdr_bh")[1])),
        "wilson": shares,
        "ranked": RANKED,
        "spearman": rounded(stats.spearmanr(*RANKED).statistic),
    }


def training() -> dict[str, Any]:
    """A plain loop of transformers and PEFT over the bundled model: ids, losses of every step, loss and texts after."""
    import torch
    from peft import LoraConfig, get_peft_model
    from torch.nn.functional import cross_entropy
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(POCKET)
    model = AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32)
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=["c_attn"], fan_in_fan_out=True)
    peft = get_peft_model(model, config)
    peft.eval()  # the dropout of GPT-2's own layers is no part of it
    trained = []
    for name, parameter in peft.named_parameters():
        if "lora_A" in name:
            layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.default.weight")
            parameter.data = torch.tensor(start(layer, parameter.shape))
        if "lora_" in name:
            trained.append(parameter)

    def ids(source: str, summary: str) -> tuple[list[int], list[int]]:
        prompt = TEMPLATE.replace("{source}", source)
        begun = tokenizer(prompt)["input_ids"]
        whole = tokenizer(f"{prompt} {summary}")["input_ids"] + [tokenizer.eos_token_id]
        assert whole[: len(begun)] == begun
        return begun, whole[len(begun) :]

    def loss_of(pairs: Iterable[tuple[str, str]]) -> torch.Tensor:
        """Mean over all tokens of the summaries, of one row at a time."""
        total, tokens = torch.zeros(()), 0
        for prompt, target in (ids(*pair) for pair in pairs):
            logits = peft(input_ids=torch.tensor([prompt + target])).logits[0, len(prompt) - 1 : -1]
            total = total + cross_entropy(logits, torch.tensor(target), reduction="sum")
            tokens += len(target)
        return total / tokens

    def texts() -> list[str]:
        found = []
        for prompt, _ in (ids(*pair) for pair in VALIDATION):
            out = peft.generate(input_ids=torch.tensor([prompt]), max_new_tokens=NEW_TOKENS, do_sample=False,
                                pad_token_id=tokenizer.eos_token_id)  # fmt: skip
            found.append(tokenizer.decode(out[0, len(prompt) :], skip_special_tokens=True).strip())
        return found

    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0)
    with torch.no_grad():
        before = {"eval_loss": rounded(loss_of(VALIDATION)), "texts": texts()}
    losses = []
    for step in range(STEPS):
        loss = loss_of(TRAIN)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(rounded(loss.item()))
    with torch.no_grad():
        after = {"eval_loss": rounded(loss_of(VALIDATION)), "texts": texts()}
    return {
        "versions": versions("torch", "transformers", "peft"),
        "prompt_ids": [ids(*pair)[0] for pair in VALIDATION],
        "target_ids": [ids(*pair)[1] for pair in VALIDATION],
        "before": before,
        "train_losses": losses,
        "after": after,
    }


def main() -> None:
    for name, answers in (("scores", scores()), ("statistics", statistics()), ("training", training())):
        text = json.dumps(answers, indent=1, ensure_ascii=False)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
