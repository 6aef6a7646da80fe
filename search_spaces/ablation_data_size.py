"""What more training examples bring: nested subsets of 64 to 1,024 examples at the same number of optimizer steps."""

from search_spaces.experiment import Experiment, StandIn
from search_spaces.grid import grid
from trainables.config import TrainConfig

base = TrainConfig(model="gpt2", data="samsum", prompt="v2", learning_rate=5e-4, max_steps=64, eval_every_steps=16)

experiment = Experiment(
    name="ablation_data_size",
    description="GPT-2 on SAMSum: {64, 256, 1024} training examples, 64 steps each",
    grid=grid(base, train_examples=[64, 256, 1024]),
    stand_in=StandIn(model="pocket-gpt2", data="pocket-chats", axes={"learning_rate": (1e-2,)}),
)
