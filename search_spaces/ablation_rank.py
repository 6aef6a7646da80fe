"""How much rank is enough: ranks 1 to 64, everything else as in grid_2x2x2."""

from search_spaces.experiment import Experiment, StandIn
from search_spaces.grid import grid
from trainables.config import TrainConfig

base = TrainConfig(model="gpt2", data="samsum", prompt="v2", learning_rate=5e-4)

experiment = Experiment(
    name="ablation_rank",
    description="GPT-2 on SAMSum: rank {1, 4, 16, 64} at one learning rate",
    grid=grid(base, lora_rank=[1, 4, 16, 64]),
    stand_in=StandIn(model="pocket-gpt2", data="pocket-chats", axes={"learning_rate": (1e-2,)}),
)
