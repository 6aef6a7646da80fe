"""How good at how few parameters: ROUGE-L is to be large and the adapter small, so no single configuration wins."""

from search_spaces.experiment import Experiment, StandIn
from search_spaces.grid_2x2x2 import base
from search_spaces.search import integer, log_uniform, ratio, search
from trainables.config import EvalConfig

experiment = Experiment(
    name="search_pareto",
    description="GPT-2 on SAMSum: 24 points of rank x learning rate x alpha, ROUGE-L against size",
    search=search(
        base.model_copy(update={"prompt": "v2"}),
        lora_rank=integer(1, 64, log=True),
        learning_rate=log_uniform(5e-5, 5e-3),
        lora_alpha=ratio("lora_rank", 1, 4),
        trials=24,
        objectives=("rougeL", "-trainable_parameters"),
    ),
    evaluation=EvalConfig(max_new_tokens=128, validation_examples=64, test_examples=128),
    stand_in=StandIn(model="pocket-gpt2", data="pocket-chats", axes={"learning_rate": log_uniform(1e-3, 1.4e-2)}),
)
