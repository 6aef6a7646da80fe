"""QLoRA on Phi-2: a 4-bit NF4 base, adapters on attention alone or on the feed-forward layers too; needs a GPU."""

from search_spaces.experiment import Experiment
from search_spaces.grid import grid
from trainables.config import TrainConfig

ATTENTION = ("q_proj", "k_proj", "v_proj", "dense")

base = TrainConfig(
    model="microsoft/phi-2",
    data="samsum",
    prompt="v2",
    quantization="nf4",
    gradient_checkpointing=True,
    lora_rank=16,
    lora_alpha=32,
    lora_dropout=0.05,
    optimizer="paged_adamw_8bit",
    schedule="cosine",
    warmup_ratio=0.1,
    train_examples=1024,
    max_length_tokens=1024,
    max_steps=128,
    batch_size=4,
    eval_every_steps=16,
)

experiment = Experiment(
    name="phi2_qlora",
    description="Phi-2 in NF4 on SAMSum: adapted layers x learning rate {2e-4, 1e-4}",
    grid=grid(base, target_modules=[ATTENTION, (*ATTENTION, "fc1", "fc2")], learning_rate=[2e-4, 1e-4]),
    needs_gpu=True,
)
