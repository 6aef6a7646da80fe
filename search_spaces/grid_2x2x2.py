"""GPT-2 with LoRA on dialogue summarization (SAMSum): prompt x rank x learning rate, eight configurations A to H.

The settings are those of the original run. Departures from it: decoding is greedy, where the original sampled
(`--decoding original`: temperature 0.7, top-k 40, top-p 0.9, repetition penalty 1.1); 64 validation examples choose and
128 test examples report, where the original had 10, too few to tell these configurations apart (`--eval-examples
10,10`); nothing is generated in mid-training (`generate_every_steps=4 generate_examples=10`).
"""

from search_spaces.experiment import Experiment, StandIn
from search_spaces.grid import grid
from trainables.config import EvalConfig, TrainConfig

base = TrainConfig(
    model="gpt2",
    data="samsum",
    train_examples=64,
    data_seed=42,
    seed=42,
    max_length_tokens=512,
    target_modules=("c_attn",),
    lora_alpha=16,
    lora_dropout=0.1,
    optimizer="adamw_torch",
    schedule="linear",
    weight_decay=0.0,
    max_grad_norm=1.0,
    max_steps=32,
    batch_size=2,
    gradient_accumulation_steps=2,
    eval_every_steps=4,
    keep_checkpoint="last",
)

experiment = Experiment(
    name="grid_2x2x2",
    description="GPT-2 on SAMSum: prompt {v1, v2} x rank {8, 16} x learning rate {5e-4, 2e-4}",
    grid=grid(base, prompt=["v1", "v2"], lora_rank=[8, 16], learning_rate=[5e-4, 2e-4]),
    evaluation=EvalConfig(max_new_tokens=128, validation_examples=64, test_examples=128),
    stand_in=StandIn(model="pocket-gpt2", data="pocket-chats", axes={"learning_rate": (1e-2, 4e-3)}),
)
