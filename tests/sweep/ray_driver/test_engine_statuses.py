"""What engines say of themselves: a process that was replaced is said once and opened again."""

from __future__ import annotations

import subprocess
import sys

from sweep.monitor.engine_status import EngineStatus
from sweep.ray_driver.engine_statuses import EngineStatuses
from trainables.startup_progress import Stage


class Opened:
    """An engine's handle that counts how often it was opened."""

    def __init__(self) -> None:
        self.count = 0
        self.open = self

    def remote(self) -> None:
        self.count += 1


def status(pid: int, is_open: bool = True, stage: Stage | None = None) -> EngineStatus:
    return EngineStatus(pid, is_open, stage)


def test_a_replaced_process_is_said_once_with_how_it_died() -> None:
    said: list[str] = []
    statuses = EngineStatuses({"engine": Opened()}, said.append, lambda pid: f"({pid})")
    for pid in (17, 17, 18, 18):
        statuses.keep("engine", status(pid))
    assert said == ["an engine's process died (17); a new one continues its trials from their checkpoints"]


def test_nothing_is_said_of_processes_that_end_with_the_launch() -> None:
    said: list[str] = []
    statuses = EngineStatuses({"engine": Opened()}, said.append, str, is_closing=True)
    for pid in (17, 18):
        statuses.keep("engine", status(pid))
    assert said == []


def test_a_new_process_is_opened_once_the_launch_is_open() -> None:
    engine = Opened()
    statuses = EngineStatuses({"engine": engine}, lambda line: None, str)
    statuses.keep("engine", status(17, is_open=False))
    assert engine.count == 0
    statuses.is_open = True
    statuses.keep("engine", status(17, is_open=True))
    assert engine.count == 0
    statuses.keep("engine", status(18, is_open=False))
    assert engine.count == 1


def test_what_an_engine_is_busy_with_lasts_longer_with_its_answers_age() -> None:
    statuses = EngineStatuses({"engine": Opened()}, lambda line: None, str)
    assert not statuses.has_answered
    statuses.keep("engine", status(17, stage=Stage("measuring", 2, 4, 150.0)))
    assert statuses.has_answered
    [told] = statuses.stages
    assert (told.name, told.done, told.of) == ("measuring", 2, 4)
    assert told.seconds >= 150.0


def test_without_engines_nothing_is_imported_that_reads_the_environment() -> None:
    asked = "import sys; from sweep.ray_driver.engine_statuses import EngineStatuses; "
    asked += "EngineStatuses({}, print, str).look(); print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
