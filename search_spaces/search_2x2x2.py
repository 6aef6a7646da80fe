"""The ranges round grid_2x2x2: GPT-2 on SAMSum, prompt, rank, learning rate and dropout, 24 points of them."""

from search_spaces.experiment import Experiment, StandIn
from search_spaces.grid_2x2x2 import base
from search_spaces.search import log_uniform, search, uniform
from trainables.config import EvalConfig

experiment = Experiment(
    name="search_2x2x2",
    description="GPT-2 on SAMSum: 24 points of prompt x rank x learning rate x dropout",
    search=search(
        base,
        prompt=["v1", "v2"],
        lora_rank=[4, 8, 16, 32],
        learning_rate=log_uniform(5e-5, 5e-3),
        lora_dropout=uniform(0, 0.2),
        trials=24,
    ),
    evaluation=EvalConfig(max_new_tokens=128, validation_examples=64, test_examples=128),
    stand_in=StandIn(model="pocket-gpt2", data="pocket-chats", axes={"learning_rate": log_uniform(1e-3, 1.4e-2)}),
)
