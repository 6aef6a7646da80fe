#!/usr/bin/env bash
# transformers 5.23.0, Trainer.evaluate of one causal language model on the same sixteen texts.
# Guess: eval_loss is the mean over the target tokens, whatever per_device_eval_batch_size: training has divided by
# the tokens of the whole accumulated batch for years.
# Seen: it is a mean of the batches' means, weighted by their texts, so that it changes with the batch size; only the
# one batch that holds all texts gives the mean over tokens. Padding has no part in it: labels are masked.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PY'
import logging
import sys
import warnings
from importlib.metadata import version

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
torch.manual_seed(0)
sizes = {"vocab_size": 50, "n_positions": 64, "n_embd": 32, "n_layer": 1, "n_head": 2}
model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))
model.eval()
draw = torch.Generator().manual_seed(1)
texts = [torch.randint(1, 50, (4 + 3 * number,), generator=draw).tolist() for number in range(16)]
rows = [{"input_ids": ids, "labels": [-100] * (len(ids) // 3) + ids[len(ids) // 3 :]} for ids in texts]


def padded(batch):
    width = max(len(row["input_ids"]) for row in batch)
    pad = [width - len(row["input_ids"]) for row in batch]
    return {
        "input_ids": torch.tensor([row["input_ids"] + [0] * n for row, n in zip(batch, pad)]),
        "attention_mask": torch.tensor([[1] * len(row["input_ids"]) + [0] * n for row, n in zip(batch, pad)]),
        "labels": torch.tensor([row["labels"] + [-100] * n for row, n in zip(batch, pad)]),
    }


def trainer_loss(size: int) -> float:
    options = TrainingArguments("out", per_device_eval_batch_size=size, report_to=[], use_cpu=True, disable_tqdm=True)
    trainer = Trainer(model, options, data_collator=padded, eval_dataset=rows)
    return trainer.evaluate()["eval_loss"]


total = count = 0.0
with torch.no_grad():
    for row in rows:
        ids, labels = torch.tensor([row["input_ids"]]), torch.tensor(row["labels"])[1:]
        losses = torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], labels, reduction="none", ignore_index=-100)
        total, count = total + losses.sum().item(), count + (labels != -100).sum().item()
found = {size: trainer_loss(size) for size in (1, 4, 16)}
print("transformers", version("transformers"), "torch", version("torch"))
print(f"mean over {count:.0f} target tokens: {total / count:.6f}")
for size, loss in found.items():
    print(f"eval_loss with per_device_eval_batch_size={size}: {loss:.6f}")
apart = [abs(loss - total / count) for loss in found.values()]
sys.exit(not (apart[2] < 1e-5 and min(apart[0], apart[1]) > 1e-4))
PY
