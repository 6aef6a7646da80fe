"""How far the weights of a packed trial may be from those of the trial alone: what rounding decides in Adam."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_inputs import evaluation_of, trial, write_sweep
from packs import packed_engine, run_packed, run_solo
from torch.optim.optimizer import register_optimizer_step_pre_hook

from benchmarks.families import write_family
from trainables.config import TrialConfig

pytestmark = pytest.mark.slow
RATE, STEPS = 5e-3, 4


@pytest.fixture
def steps() -> Iterator[dict[int, list[torch.Tensor]]]:
    """Gradients before each step, and at the end the weights, of every optimizer that there is."""
    found: dict[int, list[torch.Tensor]] = {}
    kept: list[Any] = []

    def keep(optimizer: Any, arguments: Any, named: Any) -> None:
        kept.append(optimizer)
        weights = [one for group in optimizer.param_groups for one in group["params"]]
        found.setdefault(id(optimizer), []).append(torch.cat([one.grad.flatten().clone() for one in weights]))

    handle = register_optimizer_step_pre_hook(keep)
    yield found
    handle.remove()


@pytest.mark.parametrize("family", ["stablelm", "phi3", "starcoder2", "olmo3"])
def test_weights_part_only_where_gradients_are_near_adam_s_epsilon(
    tmp_path: Path, steps: dict[int, list[torch.Tensor]], family: str
) -> None:
    model = write_family(tmp_path / "m", family)
    targets = ("qkv_proj",) if family == "phi3" else ("q_proj", "k_proj", "v_proj")
    settings: dict[str, Any] = {"target_modules": targets, "learning_rate": RATE, "max_steps": STEPS}
    trials: dict[str, TrialConfig] = {"1": trial(evaluation_of(2, 2, 2), seed=1, eval_every_steps=0, **settings)}
    alone = run_solo(write_sweep(tmp_path / "solo"), model, trials)["1"]
    sweep = write_sweep(tmp_path / "packed")
    packed = run_packed(packed_engine(sweep, model), sweep, trials)["1"]
    # Trainer's optimizer has the weights one by one, the pack's has them in one row, both in the order of the model.
    gradients = [torch.stack(one).abs() for one in steps.values() if len(one) == STEPS]
    assert len(gradients) == 2
    ours, theirs = packed.weights(), alone.weights()
    apart = torch.cat([(ours[name] - theirs[name]).abs().flatten() for name in in_order(theirs)])
    assert gradients[0].shape == gradients[1].shape == (STEPS, len(apart))
    is_near = ((gradients[0] > 0) & (gradients[0] < 1e-6)).any(0)
    assert is_near.float().mean() < 0.01
    assert apart[~is_near].max() <= 2e-5
    assert apart.max() <= 2 * RATE * sum(1 - step / STEPS for step in range(STEPS))


def in_order(weights: dict[str, torch.Tensor]) -> list[str]:
    """Return the names of an adapter's weights in the order of the model: layer, queries before keys, A before B."""
    kinds = ["q_proj", "k_proj", "v_proj", "qkv_proj"]

    def place(name: str) -> tuple[int, int, str]:
        parts = name.split(".")
        return int(parts[parts.index("layers") + 1]), kinds.index(parts[-3]), parts[-2]

    return sorted(weights, key=place)
