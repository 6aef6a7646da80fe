"""Progress: one plain line per report where nothing can be redrawn, a table on a terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_sweep import EVALUATION, HERE, ROOT, write_sweep

from sweep.environment.provenance import typed
from sweep.monitor.engine_status import RunStatus
from sweep.monitor.jsonl_tail import JournalTail
from sweep.monitor.progress import ProgressBoard, ProgressDisplay
from trainables.jobs import TrialJob, TrialReport
from trainables.records.atomic_files import append_line, write_lines
from trainables.records.evaluation_summary import EvaluationSummary
from trainables.records.journal import append
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder, TrialRecord
from trainables.records.trial_result import TrialResult


@pytest.fixture
def jobs(tmp_path: Path) -> list[TrialJob]:
    return write_sweep(tmp_path / "run", [{"max_steps": 0}, {"max_steps": 8}, {"max_steps": 8, "learning_rate": 1e-3}])[
        1
    ]


def running(job: TrialJob, report: TrialReport | None = None) -> list[RunStatus]:
    return [RunStatus(Path(job.folder).name, report)]


def finish(job: TrialJob, **result: Any) -> None:
    record = TrialRecord(Path(job.folder))
    record.write_evaluation(EVALUATION, {"test": []}, EvaluationSummary(splits={}))
    content = {"state": "done", "steps": 8, "train_s": 4.0, "evaluate_s": 2.0, "wall_s": 62.0, **result}
    record.write_result(TrialResult(**content))


def test_each_report_and_each_end_is_one_line(jobs: list[TrialJob]) -> None:
    board = ProgressBoard(jobs)
    record = TrialRecord(Path(jobs[1].folder))
    record.append_metrics({"kind": "train", "step": 4, "train_loss": 2.0})
    record.append_metrics({"kind": "eval", "step": 4, "eval_loss": 2.25, "examples": 4})
    assert board.update(running(jobs[1])) == ["B-lr0.0002: step 4/8, eval loss 2.2500"]
    assert board.update(running(jobs[1])) == []
    finish(jobs[1])
    assert board.update([]) == ["B-lr0.0002: done in 1 min 02 s"]
    assert board.update([]) == []
    finish(jobs[2], state="failed", cause="no training example fits")
    assert board.update([]) == ["C-lr0.001: failed in 1 min 02 s: no training example fits"]
    assert board.finished == 2


def test_reports_of_an_earlier_launch_are_not_repeated(jobs: list[TrialJob]) -> None:
    TrialRecord(Path(jobs[1].folder)).append_metrics({"kind": "eval", "step": 4, "eval_loss": 2.25, "examples": 4})
    board = ProgressBoard(jobs)
    assert board.update(running(jobs[1])) == []
    assert board.trials[Path(jobs[1].folder).name].step == 4


def test_states_are_those_of_engine_and_record(jobs: list[TrialJob]) -> None:
    board = ProgressBoard(jobs)
    shown = board.trials[Path(jobs[1].folder).name]
    board.update([])
    assert shown.state == "waiting"
    board.update(running(jobs[1]))
    assert shown.state == "train"
    board.update(running(jobs[1], TrialReport(8, phase="evaluate")))
    assert shown.state == "evaluate"
    finish(jobs[1])
    board.update([])
    assert shown.state == "done"


def test_a_trained_trial_whose_evaluation_is_missing_is_not_finished(jobs: list[TrialJob]) -> None:
    board = ProgressBoard(jobs)
    TrialRecord(Path(jobs[1].folder)).write_result(TrialResult(state="done", steps=8))
    assert board.update([]) == []
    assert board.finished == 0


def test_the_time_left_is_told_from_finished_trials(jobs: list[TrialJob]) -> None:
    board = ProgressBoard(jobs)
    assert board.left_s(1) is None
    finish(jobs[1])
    board.update([])
    # The other configuration: 8 steps of 0.5 s and an end of 2 s; the baseline: an end of 2 s.
    assert board.left_s(1) == pytest.approx(8.0)
    assert board.left_s(2) == pytest.approx(4.0)


def test_a_tail_gives_whole_lines_once_and_notices_a_replaced_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = JournalTail(path)
    assert tail.read() == ([], False)
    append_line(path, {"step": 1})
    with path.open("a") as file:
        file.write('{"step": ')
    assert tail.read() == ([{"step": 1}], True)
    with path.open("a") as file:
        file.write("2}\n")
    assert tail.read() == ([{"step": 2}], False)
    write_lines(path, [{"step": 1}])
    assert tail.read() == ([{"step": 1}], True)
    for step in (2, 3, 4):
        append(path, {"step": step})
    path.write_bytes(path.read_bytes().replace(b'"step": 3', b'"step": 9'))
    assert JournalTail(path).read() == ([{"step": 1}, {"step": 2}], True)


SHOW = """
import sys, time
from pathlib import Path
from small_sweep import write_sweep
from sweep.monitor.engine_status import RunStatus
from sweep.monitor.progress import ProgressDisplay
from trainables.records.manifest import SweepManifest
from trainables.records.record import TrialRecord
from trainables.records.trial_result import TrialResult
folder, jobs, _ = write_sweep(Path(sys.argv[1]), [{"max_steps": 0}, {"max_steps": 8}])
with ProgressDisplay(folder, jobs, "2 trials on CPU") as display:
    TrialRecord(Path(jobs[1].folder)).append_metrics({"kind": "eval", "step": 4, "eval_loss": 2.25, "examples": 4})
    TrialRecord(Path(jobs[0].folder)).write_result(TrialResult(state="failed", cause="no luck"))
    display.update([RunStatus(Path(jobs[1].folder).name)])
display.say_how_to_continue("interrupted by SIGTERM")
"""


def shown_on_a_terminal(tmp_path: Path, **environment: str) -> str:
    """Return what a program shows on a pseudo-terminal."""
    above, below = pty.openpty()
    # The test's own environment may be a notebook's or without colours.
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "JPY_PARENT_PID", "COLUMNS")}
    path = os.pathsep.join([str(ROOT), str(HERE)])
    process = subprocess.Popen(
        [sys.executable, "-c", SHOW, str(tmp_path / "run")],
        stdout=below,
        stderr=below,
        env={**plain, "TERM": "xterm", "PYTHONPATH": path, **environment},
    )
    os.close(below)
    content = b""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([above], [], [], 0.1)[0]:
            try:
                content += os.read(above, 65536)
            except OSError:
                break  # the other end is closed
    os.close(above)
    assert process.wait(timeout=10) == 0
    return content.decode()


def test_a_terminal_gets_a_table_with_colours_unless_they_are_unwanted(tmp_path: Path) -> None:
    coloured = shown_on_a_terminal(tmp_path / "one")
    assert "4/8" in coloured
    assert "2.2500" in coloured
    assert "\x1b[31mfailed" in coloured
    plain = shown_on_a_terminal(tmp_path / "two", NO_COLOR="1")
    assert "4/8" in plain
    assert "failed" in plain
    assert "\x1b[31m" not in plain


def test_a_notebook_gets_plain_lines_though_it_has_a_terminal(tmp_path: Path) -> None:
    text = shown_on_a_terminal(tmp_path, JPY_PARENT_PID="1")
    assert text.replace("\r", "").splitlines() == [
        "2 trials on CPU",
        "zero-shot-v1: failed: no luck",
        "B-lr0.0002: step 4/8, eval loss 2.2500",
        "interrupted by SIGTERM: 1 of 2 trials are finished; continue with",
        f"  {typed(f'python -m sweep.run again --out {tmp_path}/run')}",
    ]


def test_where_nothing_is_redrawn_a_long_evaluation_is_told_ever_more_seldom(
    tmp_path: Path, jobs: list[TrialJob], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 100.0
    monkeypatch.setattr("sweep.monitor.progress.time", SimpleNamespace(monotonic=lambda: seconds))
    finish(jobs[0])
    display = ProgressDisplay(SweepFolder(tmp_path), jobs, "3 trials")
    both = [run for job in jobs[1:] for run in running(job, TrialReport(8, phase="evaluate"))]
    said = {}
    for second in range(61):
        seconds = 100.0 + second
        display.update(both)
        if lines := capsys.readouterr().err.splitlines():
            said[second] = lines
    assert said.pop(0) == ["zero-shot-v1: done in 1 min 02 s"]
    assert list(said) == [5, 12, 22, 36, 57]  # pauses of 4, 6, 9, 13.5 and 20.25 s, looked at once a second
    assert said[12] == ["  evaluating B, C; 1 of 3 trials are finished (12 s)"]
    finish(jobs[1])
    for second in range(61, 67):
        seconds = 100.0 + second
        display.update(both[1:])
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["B-lr0.0002: done in 1 min 02 s", "  evaluating C; 2 of 3 trials are finished (5 s)"]
    seconds = 300.0
    display.close()
    assert capsys.readouterr().err == ""


def test_of_many_trials_a_few_are_named(jobs: list[TrialJob], tmp_path: Path) -> None:
    many = write_sweep(tmp_path / "many", [{"max_steps": 8, "seed": seed} for seed in range(6)])[1]
    board = ProgressBoard(many)
    board.update([run for job in many for run in running(job)])
    names = [trial.name for trial in board.trials.values()][:4]
    assert board.sentence() == f"training {', '.join(names)} and 2 more; 0 of 6 trials are finished"


def test_a_command_of_its_own_is_the_only_one_that_continues(
    tmp_path: Path, jobs: list[TrialJob], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = SweepFolder(tmp_path)
    folder.write_manifest(SweepManifest(command="python -m sweep.run own.py"))
    ProgressDisplay(folder, jobs, "").say_how_to_continue("interrupted", "python -m sweep.eval own")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "interrupted: 0 of 3 trials are finished; continue with"
    assert len(lines) == 2
    assert lines[1].endswith(" -m sweep.eval own")
