"""Who has the places of the engines in a search: what is left first, then new points, each place filled at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import jobs
from searched import EVALUATION, experiment, opened

from sweep.ray_driver import search_places
from sweep.ray_driver.launch_trials import LaunchTrials
from sweep.ray_driver.search_places import SearchPlaces
from trainables.jobs import TrialJob
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult


class Numbered:
    """Points p0, p1, ... up to a number, and what was told of them."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.asked = 0
        self.told: list[str] = []

    @property
    def remaining(self) -> int:
        return self.count - self.asked

    def ask(self) -> TrialJob | None:
        if not self.remaining:
            return None
        self.asked += 1
        name = f"p{self.asked - 1}"
        return jobs(self.folder, name)[name]

    def report(self, key: str, step: int, eval_loss: float) -> None:
        self.told.append(f"{key} {step} {eval_loss}")

    def ended(self, key: str) -> None:
        self.told.append(key)


class Search:
    """Places over a folder, and what was begun where."""

    def __init__(self, folder: Path, count: int, places: dict[str, int], left: str = "", baselines: str = "") -> None:
        self.folder = folder
        self.study = Numbered(folder, count)
        self.begun: list[str] = []
        self.running: set[str] = set()
        self.engines = set(places)
        self.paused: list[str] = []
        self.goes_on = True
        known = jobs(folder, *baselines, *left, baselines=tuple(baselines))
        self.places = SearchPlaces(
            LaunchTrials(known.values(), self.study),
            places,
            self.engines,
            list(known),
            lambda key: key in baselines,
            lambda engine, key: self.begun.append(f"{engine} {key}"),
            lambda: self.running,
            lambda: self.goes_on,
            self.paused.append,
        )

    def end(self, key: str) -> None:
        TrialRecord(self.folder / key).write_result(TrialResult(state="failed", steps=1))


@pytest.fixture
def search(tmp_path: Path) -> Callable[..., Search]:
    return lambda *arguments, **options: Search(tmp_path, *arguments, **options)


def test_baselines_and_what_is_left_come_first_and_baselines_take_no_place(search: Callable[..., Search]) -> None:
    one = search(5, {"e": 2}, left="a", baselines="z")
    one.places.fill()
    assert one.begun == ["e z", "e a", "e p0"]
    assert one.study.asked == 1


def test_a_place_is_filled_as_soon_as_its_record_is_finished(search: Callable[..., Search]) -> None:
    one = search(5, {"e": 2})
    one.places.fill()
    one.places.fill()
    assert one.begun == ["e p0", "e p1"]
    one.end("p1")
    one.places.fill()
    assert one.begun[2:] == ["e p2"]
    assert one.study.told == ["p1"]


def test_with_one_place_no_point_is_chosen_before_the_last_one_is_known(search: Callable[..., Search]) -> None:
    one = search(3, {"e": 1})
    one.places.fill()
    one.places.left("p0")  # Tune has ended it, as a scheduler does: it is still being evaluated
    one.places.fill()
    assert one.study.asked == 1


def test_several_engines_are_filled_alike(search: Callable[..., Search]) -> None:
    one = search(9, {"e": 2, "f": 2})
    one.places.fill()
    assert one.begun == ["e p0", "f p1", "e p2", "f p3"]
    one.end("p1")
    one.places.fill()
    assert one.begun[-1] == "f p4"


def test_what_a_lost_engine_had_comes_again_on_another(search: Callable[..., Search]) -> None:
    one = search(9, {"e": 1, "f": 2})
    one.places.fill()
    one.end("p0")
    one.engines.remove("f")
    one.places.fill()
    assert one.begun[3:] == ["e p1"]
    assert one.study.told == ["p0"]


def test_a_disk_that_is_full_pauses_the_search(search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch) -> None:
    one = search(9, {"e": 1})

    def fail() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(one.study, "ask", fail)
    one.places.fill()
    assert one.paused == ["no further point of the search can be written: [Errno 28] No space left on device"]


def test_it_is_over_when_every_point_has_been_followed_or_the_launch_ends(search: Callable[..., Search]) -> None:
    one = search(1, {"e": 2})
    one.places.fill()
    assert not one.places.is_over
    one.places.begun.clear()
    assert one.places.is_over
    other = search(4, {"e": 1}, left="a")
    other.goes_on = False
    other.places.fill()
    assert other.begun == []
    assert other.places.is_over


def test_a_place_that_nobody_uses_any_more_is_filled_though_its_trial_has_no_end(
    search: Callable[..., Search], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_places, "GIVEN_UP_S", 0.0)
    one = search(2, {"e": 1})
    one.running = {"p0"}
    one.places.fill()
    one.places.left("p0")
    one.places.fill()
    assert one.begun == ["e p0"]
    one.running = set()
    one.places.fill()
    assert one.begun == ["e p0", "e p1"]
    assert one.study.told == []


def test_tune_is_given_trials_bound_to_their_engines_and_what_they_report_is_told_once(
    search: Callable[..., Search],
) -> None:
    from ray.tune.search import Searcher

    from sweep.ray_driver.study_searcher import StudySearcher

    one = search(3, {"e": 1})
    tune: Any = StudySearcher(one.places, most=2)
    assert tune.suggest("t0") == {"trial": "p0", "engines": ["e"]}
    assert tune.suggest("t1") is None
    tune.on_trial_result("t0", {"step": 4, "eval_loss": 1.5})
    tune.on_trial_result("t0", {"step": 8, "eval_loss": float("nan")})
    tune.on_trial_result("t0", {"step": 0})
    one.end("p0")
    assert tune.suggest("t1") == {"trial": "p1", "engines": ["e"]}
    tune.on_trial_result("t0", {"step": 8, "eval_loss": 1.0})
    tune.on_trial_complete("t0", None, error=True)
    assert one.study.told == ["p0 4 1.5", "p0"]
    one.end("p1")
    assert tune.suggest("t2") == {"trial": "p2", "engines": ["e"]}
    assert tune.suggest("t3") == Searcher.FINISHED


def test_a_search_is_extended_though_no_trial_of_it_is_left(tmp_path: Path) -> None:
    trials = LaunchTrials([], opened(tmp_path / "sweep", experiment(2)))
    assert (trials.total, trials.evaluation) == (2, EVALUATION)
