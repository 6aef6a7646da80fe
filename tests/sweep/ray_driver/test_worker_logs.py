"""What an engine wrote before it died, in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from sweep.ray_driver.session_folder import session_folder
from sweep.ray_driver.worker_logs import in_short, lines_of


def write_log(folder: Path, pid: int, text: str, kind: str = "err") -> None:
    logs = session_folder(folder) / "session_latest" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    (logs / f"worker-0123-ffffffff-{pid}.{kind}").write_text(text)


def test_lines_are_those_of_that_process_without_rays_own(tmp_path: Path) -> None:
    write_log(tmp_path, 17, ":job_id:01000000\n:actor_name:EngineHost\n\nloading\nfree(): corrupted chunk\n")
    write_log(tmp_path, 117, "another's\n")
    write_log(tmp_path, 17, "printed\n", "out")
    assert lines_of(tmp_path, 17) == ["printed", "loading", "free(): corrupted chunk"]
    assert lines_of(tmp_path, 18) == []
    assert lines_of(None, 17) == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "without a word (killed, or out of memory)"),
        (["one", "two"], "(the last it wrote: two)"),
        (
            ["Fatal Python error: Segmentation fault", "", '  File "x.py", line 3', "Extension modules: numpy"],
            "(the last it wrote: Fatal Python error: Segmentation fault)",
        ),
        (
            ["terminate called after throwing\x1b[31m", "Aborted"],
            "(the last it wrote: terminate called after throwing [31m)",
        ),
        (
            ["free(): invalid next size (fast)", "*** SIGABRT received ***", "Fatal Python error: Aborted"],
            "(the last it wrote: free(): invalid next size (fast))",
        ),
        (["ValueError: no such layer", '  File "faulty.py"'], "(the last it wrote: ValueError: no such layer)"),
        (["std::bad_alloc", "  what():  std::bad_alloc", "bye"], "(the last it wrote: what():  std::bad_alloc)"),
    ],
)
def test_the_line_that_tells_a_cause_is_said_else_the_last(lines: list[str], said: str) -> None:
    assert in_short(lines) == said
