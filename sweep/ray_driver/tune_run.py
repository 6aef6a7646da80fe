"""Ray Tune over light trials: one Tune trial a job, names of ours, in the order of the plan."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.ray_driver.search_places import SearchPlaces
from sweep.ray_driver.worker_priority import NICENESS, give_way

TRIAL_CPUS = 0.001  # an empty request is refused
NAME = "tune"  # of the folder within the storage
MAX_FAILURES = 3  # of a light trial's own process; failures of training are results


@dataclass(frozen=True)
class TuneOptions:
    """How to run trials: names of the engines' actors, trials alive at once, early stopping, Tune's own folder."""

    engines: tuple[str, ...]
    live: int
    scheduler: Any
    storage: Path
    in_populations: bool = False  # trials may be told to take over another's state
    on_died: Callable[[str], None] = lambda key: None  # a light trial's process, and is started again
    search: SearchPlaces | None = None  # instead of keys


def run_tune(keys: list[str], how: TuneOptions) -> None:
    """Run the trials `keys`, or those of a search, to their end.

    Failed trials do not stop the others and raise nothing. Tune's folder is disposable: what an earlier run left is
    removed, and nothing is restored from it.
    """
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(how.live)
    from ray import tune

    if how.in_populations:
        from sweep.ray_driver.pbt.tune_trial import follow_in_population as follow
    else:
        from sweep.ray_driver.tune_trial import follow

    which: dict[str, Any] = {"max_concurrent_trials": how.live}
    space: dict[str, Any] = {"trial": tune.grid_search(keys), "engines": list(how.engines)}
    callbacks = [silent(how.on_died)]
    if how.search is not None:
        from sweep.ray_driver.study_searcher import PlaceFiller, StudySearcher

        which = {"search_alg": StudySearcher(how.search, how.live), "num_samples": -1}
        space = {}
        callbacks.append(PlaceFiller(how.search))
    shutil.rmtree(how.storage / NAME, ignore_errors=True)
    tuner = tune.Tuner(
        tune.with_resources(give_way(follow), {"cpu": TRIAL_CPUS}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric="eval_loss",
            mode="min",
            scheduler=how.scheduler,
            **which,
            reuse_actors=True,
            trial_name_creator=name_of,
            trial_dirname_creator=name_of,
        ),
        run_config=tune.RunConfig(
            name=NAME,
            storage_path=str(how.storage.resolve()),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            callbacks=callbacks,
        ),
    )
    tuner.fit()


def in_turn(keys: Iterable[str], shares: Iterable[Sequence[str]]) -> list[str]:
    """Return keys in turn from each share, then those of none, each in the order given.

    Where engines run their shares ahead, no engine's trials are then left to be replayed at the end.
    """
    wanted = dict.fromkeys(keys)
    dealt = itertools.chain.from_iterable(itertools.zip_longest(*shares))
    return list(dict.fromkeys([*(key for key in dealt if key in wanted), *wanted]))


def begin_import() -> threading.Thread:
    """Import Tune beside whatever else starts, at a low priority; to be joined before `run_tune`."""

    def work() -> None:
        if hasattr(os, "setpriority"):
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        from ray import tune  # noqa: F401

    thread = threading.Thread(target=work, name="import", daemon=True)
    thread.start()
    return thread


def silent(on_died: Callable[[str], None] = lambda key: None) -> Any:
    """Return a callback in the place of the one that prints trials whatever the verbosity; `on_died` takes a key."""
    from ray.tune.progress_reporter import TrialProgressCallback

    class Silent(TrialProgressCallback):
        def log_result(self, trial: Any, result: Any, error: bool = False) -> None:
            pass

        def on_trial_recover(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            on_died(name_of(trial))

        def _print(self, msg: str) -> None:
            pass

        def __reduce__(self) -> Any:  # Tune keeps a copy, which is never used
            return silent, ()

    return Silent()


def name_of(trial: Any) -> str:
    """Name a Tune trial as its record is named."""
    return str(trial.config["trial"])
