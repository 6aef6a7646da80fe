"""Pretrain the pocket model from nothing: `python -m trainables.pocket.pretrain --out DIR`.

It trains a byte-level BPE tokenizer and a small GPT-2 on generated texts (see `trainables.pocket.texts`) and writes
both as a Hugging Face folder. Two CPU cores are enough. The shipped model took about 2,350 steps in 32 minutes on two
busy cores, down to 0.58 nats per token of prose; an idle machine gets further in that time. Set OMP_WAIT_POLICY=passive
where others use the cores too: threads that spin for each other cost most of the speed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import re
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import fmean

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from trainables.pocket.texts import texts

END_OF_TEXT = "<|endoftext|>"
TOKENIZER_TEXTS = 8000
WINDOW_TOKENS = 512
WARMUP_STEPS = 100

# What is said next in a chat is mostly drawn by chance, what is told of it afterwards is not: the loss looks there.
CHAT_LINE = re.compile(r"^\w+: .*$", re.MULTILINE)
CHAT_WEIGHT = 0.3


def train_tokenizer(vocabulary_size: int, text_count: int) -> Tokenizer:
    """Return a byte-level BPE tokenizer of the GPT-2 kind, trained on generated texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(islice(texts("tokenizer"), text_count), trainer)
    return tokenizer


def new_model(vocabulary_size: int, layers: int, width: int) -> GPT2LMHeadModel:
    """Return an untrained GPT-2 without dropout, which a single pass over ever new texts does not need."""
    config = GPT2Config(
        vocab_size=vocabulary_size,
        n_positions=WINDOW_TOKENS,
        n_embd=width,
        n_layer=layers,
        n_head=width // 32,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        activation_function="gelu_pytorch_tanh",  # gelu_new in one fused kernel
    )
    return GPT2LMHeadModel(config)


def token_weights(text: str, offsets: list[tuple[int, int]]) -> list[float]:
    """Return the weight of each token in the loss: little inside chat lines, which are mostly chance."""
    weights, lines = [], [match.span() for match in CHAT_LINE.finditer(text)]
    for start, _ in offsets:
        while lines and lines[0][1] <= start:
            lines.pop(0)
        weights.append(CHAT_WEIGHT if lines and lines[0][0] <= start else 1.0)
    return weights


def windows(tokenizer: Tokenizer, seed: str) -> Iterator[tuple[list[int], list[float]]]:
    """Yield windows of token ids and loss weights without end, each starting with a text; the end token parts texts."""
    end_ids = tokenizer.encode(END_OF_TEXT).ids
    ids: list[int] = []
    weights: list[float] = []
    for text in texts(seed):
        encoded = tokenizer.encode(text)
        ids += [*encoded.ids, *end_ids]
        weights += [*token_weights(text, encoded.offsets), 1.0]
        if len(ids) >= WINDOW_TOKENS:
            yield ids[:WINDOW_TOKENS], weights[:WINDOW_TOKENS]
            ids, weights = [], []


def optimizers_of(model: torch.nn.Module, peak_rate: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices of the blocks, which then need fewer steps, and AdamW for all else."""
    named = list(model.named_parameters())
    blocks = [p for name, p in named if p.ndim == 2 and ".h." in name]
    embeddings = [p for name, p in named if p.ndim == 2 and ".h." not in name]
    groups = [
        {"params": embeddings, "weight_decay": 0.1},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [
        torch.optim.Muon(blocks, lr=peak_rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, lr=peak_rate, betas=(0.9, 0.98), fused=True),
    ]


def loss_of(model: GPT2LMHeadModel, batch: list[tuple[list[int], list[float]]]) -> tuple[torch.Tensor, float]:
    """Return the weighted loss to train on, and the mean loss of the prose alone, in nats per token."""
    ids_BT = torch.tensor([ids for ids, _ in batch])
    weights_N = torch.tensor([weights for _, weights in batch])[:, 1:].flatten()
    logits_BTV = model(input_ids=ids_BT).logits[:, :-1]
    losses_N = cross_entropy(logits_BTV.flatten(0, 1).float(), ids_BT[:, 1:].flatten(), reduction="none")
    prose = losses_N.detach()[weights_N == 1.0].mean().item()
    return (losses_N * weights_N).sum() / weights_N.sum(), prose


def rate_factor(step: int, progress: float) -> float:
    """Return the share of the peak learning rate: a short linear warm-up, then a cosine down to a fiftieth."""
    return min(1.0, (step + 1) / WARMUP_STEPS) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def save(model: GPT2LMHeadModel, tokenizer: Tokenizer, out: Path) -> None:
    """Write the model as float16 safetensors, with its tokenizer, so that the Auto classes load the folder."""
    out.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.detach().to(torch.float16) for name, tensor in model.state_dict().items()}
    # gpt2's own dropout goes into the shipped config: whoever forgets eval mode shall notice it here as well.
    config = GPT2Config.from_dict({**model.config.to_dict(), "resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1})
    shipped = GPT2LMHeadModel(config).to(torch.float16)
    shipped.load_state_dict(state)
    shipped.save_pretrained(out, safe_serialization=True)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, model_max_length=WINDOW_TOKENS
    )
    wrapped.save_pretrained(out)


def train(model: GPT2LMHeadModel, tokenizer: Tokenizer, options: argparse.Namespace) -> float:
    """Train for `options.steps` steps and return the mean loss of the prose in the last tenth, in nats per token."""
    optimizers = optimizers_of(model, options.learning_rate)
    source = windows(tokenizer, f"model {options.seed}")
    losses: list[float] = []
    start_s = time.monotonic()
    model.train()
    for step in range(options.steps):
        # Whichever budget is nearer to its end sets the pace, so that a busy machine still ends on a low rate.
        progress = max(step / options.steps, (time.monotonic() - start_s) / (60 * options.minutes))
        if progress >= 1:
            break
        rate = options.learning_rate * rate_factor(step, progress)
        mixed = torch.autocast("cpu", torch.bfloat16) if options.bf16 else contextlib.nullcontext()
        with mixed:
            loss, prose_loss = loss_of(model, list(islice(source, options.batch)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(prose_loss)
        if (step + 1) % options.log_every == 0:
            seconds = round(time.monotonic() - start_s)
            line = {"step": step + 1, "loss": round(fmean(losses[-options.log_every :]), 4), "wall_s": seconds}
            print(json.dumps(line), flush=True)
            save(model, tokenizer, options.out)
    return fmean(losses[-max(1, len(losses) // 10) :])


def parser() -> argparse.ArgumentParser:
    """Return the command line; its defaults are those of the shipped model, which its 32 minutes ended early."""
    built = argparse.ArgumentParser(description="Pretrain the pocket GPT-2 on generated texts.")
    built.add_argument("--out", type=Path, required=True, help="folder to write the model and tokenizer to")
    built.add_argument("--steps", type=int, default=6000, help="optimizer steps at most")
    built.add_argument("--minutes", type=float, default=32.0, help="wall time to spend at most; ends a slow run early")
    built.add_argument("--batch", type=int, default=4, help=f"windows of {WINDOW_TOKENS} tokens per step")
    built.add_argument("--layers", type=int, default=4)
    built.add_argument("--width", type=int, default=192, help="embedding size, a multiple of 32")
    built.add_argument("--vocabulary", type=int, default=2048, help="tokens in the vocabulary")
    built.add_argument("--tokenizer-texts", type=int, default=TOKENIZER_TEXTS, help="texts to train the tokenizer on")
    built.add_argument("--learning-rate", type=float, default=3e-3, help="peak of the cosine schedule")
    built.add_argument("--seed", type=int, default=0)
    built.add_argument("--log-every", type=int, default=100, help="steps between log lines and checkpoints")
    built.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True, help="bfloat16 autocast")
    return built


def main(arguments: list[str] | None = None) -> None:
    """Run the pretraining and write the folder."""
    options = parser().parse_args(arguments)
    torch.manual_seed(options.seed)
    tokenizer = train_tokenizer(options.vocabulary, options.tokenizer_texts)
    model = new_model(tokenizer.get_vocab_size(), options.layers, options.width)
    print(json.dumps({"parameters": sum(p.numel() for p in model.parameters())}), flush=True)
    loss = train(model, tokenizer, options)
    save(model, tokenizer, options.out)
    print(json.dumps({"final_loss": round(loss, 4)}))


if __name__ == "__main__":
    main()
