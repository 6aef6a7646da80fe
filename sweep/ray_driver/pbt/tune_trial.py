"""The light Tune function of population-based training: it follows its trial and takes over another's state (no torch).

A Tune checkpoint of it is a pointer: which trial, at which step. Where Tune starts it from the pointer of another
trial, an engine copies that trial's checkpoint into this one's folder before it runs.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.ray_driver.tune_trial import ENGINE_GONE_S, NAMESPACE, TAKE_S, TrialFollower, engine_gone, follow
from trainables.records.lineage import Change

POINTER = "pointer.json"
NOT_KNOBS = {"trial", "engines", "changes", "pointer_every"}


def follow_in_population(config: dict[str, Any]) -> None:
    """Run the trial `config["trial"]` as `follow` does; with "pointer_every" it is a member of a population."""
    if "pointer_every" not in config:
        follow(config)
        return
    from ray import tune

    follower = TrialFollower(config["trial"], config["engines"])
    pointer = read_pointer(tune.get_checkpoint())
    change = change_of(config, pointer)
    follower.step = pointer["step"] if pointer else -1
    answered = time.monotonic()
    while not follower.ended:
        try:
            if change is not None and not take_over(follower, change):
                if time.monotonic() - answered > ENGINE_GONE_S:
                    return
                time.sleep(TAKE_S)
                continue
            engine = follower.take()
            answered = time.monotonic()
            if engine is None:
                return
            try:
                for row in follower.reports(engine):
                    with written_pointer(follower.key, row["step"], config["pointer_every"]) as checkpoint:
                        tune.report(row, checkpoint=checkpoint)
            finally:
                leave(engine, follower.key)
        except engine_gone():
            continue


def change_of(config: dict[str, Any], pointer: dict[str, Any] | None) -> Change | None:
    """Return what the scheduler changed, None where the trial goes on from its own state."""
    if pointer is None or pointer["trial"] == config["trial"]:
        return None
    knobs = {name: value for name, value in config.items() if name not in NOT_KNOBS}
    return Change(config["changes"], pointer["trial"], pointer["step"], knobs)


def take_over(follower: TrialFollower, change: Change) -> bool:
    """Have an engine give the trial its donor's state, once it runs in none; False where no engine can be reached."""
    import ray

    engines = []
    for name in follower.engines:
        with contextlib.suppress(ValueError):  # gone
            engines.append(ray.get_actor(name, namespace=NAMESPACE))
    for engine in engines:
        leave(engine, follower.key)
    for engine in engines:
        with contextlib.suppress(*engine_gone()):
            ray.get(engine.adopt.remote(follower.key, change))
            return True
    return False


def leave(engine: Any, key: str) -> None:
    """Have the trial write a checkpoint and leave its engine; also where Tune ends this function in a report."""
    import ray

    with contextlib.suppress(*engine_gone()):  # and the trial with it
        ray.get(engine.leave.remote(key))


def read_pointer(checkpoint: Any) -> dict[str, Any] | None:
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        pointer: dict[str, Any] = json.loads((Path(folder) / POINTER).read_text(encoding="utf-8"))
    return pointer


@contextlib.contextmanager
def written_pointer(key: str, step: int, every: int) -> Iterator[Any]:
    """Yield a Tune checkpoint that points to a step of this trial, None between the steps at which it is judged."""
    if step % every:
        yield None
        return
    from ray.tune import Checkpoint

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / POINTER).write_text(json.dumps({"trial": key, "step": step}), encoding="utf-8")
        yield Checkpoint.from_directory(folder)
