"""The operations and bytes that the roofline counts, against torch's own counter and by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from benchmarks import flops
from trainables.bases.probes import probe_last_mlp
from trainables.config import TrainConfig
from trainables.modeling.base_model import LoadedBase
from trainables.modeling.loss import collate, completion_loss
from trainables.modeling.peft_lora import Clock, attach
from trainables.tokenization.token_rows import TokenRow

WIDTH, LAYERS, VOCABULARY, RANK = 32, 2, 50, 4
ROWS = [
    TokenRow("a", tuple(range(1, 25)), tuple(range(2, 10)), 0, True),
    TokenRow("b", tuple(range(28)), tuple(range(4)), 0, True),
]
TOKENS = 32  # of each row, a multiple of the bucket: nothing is padded


@pytest.fixture
def gpt2(tmp_path: Path) -> Path:
    config = GPT2Config(n_embd=WIDTH, n_layer=LAYERS, n_head=2, n_positions=64, vocab_size=VOCABULARY)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_a_training_step_counts_what_torch_counts_but_for_causality_and_the_first_layer(gpt2: Path) -> None:
    train = TrainConfig(model="tiny", data="chats", lora_rank=RANK, lora_dropout=0.0)
    shape = flops.shape_of(gpt2)
    ours = flops.training_flop(shape, flops.adapter_weights(gpt2, train), ROWS)

    base = LoadedBase(AutoModelForCausalLM.from_pretrained(gpt2, attn_implementation="eager").requires_grad_(False))
    probe_last_mlp(base)
    base.model = attach(base.model, train, Clock(0))
    with FlopCounterMode(display=False) as counter:
        completion_loss(base, collate(ROWS, 0), 1).backward()

    # Torch's full attention looks at later tokens too, and the first layer's input needs no gradient.
    pairs = sum(TOKENS * (TOKENS + 1) // 2 for _ in ROWS)
    attention = LAYERS * 3 * 2 * 2 * WIDTH * (len(ROWS) * TOKENS**2 - pairs)
    first_layer = 2 * len(ROWS) * TOKENS * (3 * WIDTH * WIDTH + RANK * WIDTH)
    assert counter.get_total_flops() == ours + attention - first_layer


def test_a_shape_leaves_embeddings_out_and_knows_a_tied_head(gpt2: Path) -> None:
    shape = flops.shape_of(gpt2)
    assert shape.block_weights == LAYERS * 12 * WIDTH**2
    assert shape.tail_weights == 8 * WIDTH**2
    assert shape.head == (WIDTH, VOCABULARY)
    assert (shape.layers, shape.attention_width, shape.cache_width) == (LAYERS, WIDTH, WIDTH)


def test_a_shape_of_llama_has_its_own_head_and_a_narrow_cache(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=40, num_key_value_heads=2, tie_word_embeddings=False, **sizes)
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    shape = flops.shape_of(tmp_path)
    assert shape.block_weights == 32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 48
    assert shape.head == (32, 40)
    assert shape.cache_width == 16


def test_decoding_counts_the_base_once_per_position_and_each_text_until_it_ends() -> None:
    shape = flops.Shape(1, 8, 8, {"one": (8, 8)}, (8, 10))
    found = flops.decoding(shape, "bf16", [5], prompts=[3, 4], new=[2, 3])
    weights = 64 + 80
    # Position 1 has both texts, with 4 and 5 tokens before and with them; position 2 the longer one alone, with 6.
    cached = 2 * (4 + 5 + 6) * 8
    assert found.bytes == 2 * 2 * weights + 2 * cached + 2 * 4 * 5
    in_4_bits = flops.decoding(shape, "bf16", [5], prompts=[3, 4], new=[2, 3], is_packed=True)
    assert found.bytes - in_4_bits.bytes == 2 * 64 * (2 - 0.5 - 1 / 64)
    assert found.flop == 2 * 3 * (weights + 5) + 4 * (4 + 5 + 6) * 8
    assert found.tokens == 3
