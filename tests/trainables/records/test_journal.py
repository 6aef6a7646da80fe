"""Journals: any change to a line is found at that line, and a kill in the middle of one costs that line alone."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from trainables.records import atomic_files, journal

ROWS = [{"kind": "train", "step": step, "train_loss": 3 - step / 8, "text": 'ä\n"}'} for step in range(1, 9)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "metrics.jsonl"
    for row in ROWS:
        journal.append(path, row)
    return path


def test_rows_come_back_as_they_were_however_they_were_written(path: Path, tmp_path: Path) -> None:
    assert journal.read(path) == journal.Journal(ROWS)
    journal.write(tmp_path / "other", ROWS)
    assert (tmp_path / "other").read_bytes() == path.read_bytes()
    assert journal.read(tmp_path / "absent").rows == []


def test_a_flipped_bit_is_found_no_later_than_at_the_next_line(path: Path) -> None:
    whole = path.read_bytes()
    draw = random.Random(7)
    for at in range(0, len(whole), 3):
        content = bytearray(whole)
        content[at] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        read = journal.read(path)
        line = whole[:at].count(b"\n")
        if line < len(ROWS) - 1:
            assert read.fault, f"byte {at}"
        # The last line has none after it: a change that hides its checksum costs it, or is found by the result's sum.
        assert read.rows[:line] == ROWS[:line], f"byte {at}"
        assert len(read.rows) <= line + 1, f"byte {at}"


@pytest.mark.parametrize("change", ["removed", "swapped", "repeated"])
def test_lines_that_are_moved_are_found(path: Path, change: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "removed": lines[:3] + lines[4:],
        "swapped": [*lines[:3], lines[4], lines[3], *lines[5:]],
        "repeated": [*lines[:3], lines[2], *lines[3:]],
    }
    path.write_bytes(b"".join(changed[change]))
    read = journal.read(path)
    assert read.rows == ROWS[:3]
    assert read.fault == "line 4: its checksum is not the one of its text and the lines before it"


def test_a_kill_at_any_byte_costs_the_line_that_was_being_written(path: Path) -> None:
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        read = journal.read(path)
        assert read.fault is None
        assert read.rows in (ROWS[:-1], ROWS)  # a line of which the newline alone is missing is whole
        if read.rows == ROWS[:-1]:
            journal.append(path, ROWS[-1])
            assert path.read_bytes() == whole


def test_lines_of_before_there_were_checksums_are_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    atomic_files.write_lines(path, ROWS[:4])
    for row in ROWS[4:]:
        journal.append(path, row)
    assert journal.read(path) == journal.Journal(ROWS)
    path.write_bytes(path.read_bytes().replace(b'"step": 6', b'"step": 7'))
    assert (len(journal.read(path).rows), journal.read(path).fault is None) == (5, False)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b'{"step": 2}, {"step": 3}', "it is no JSON"),  # two rows on a line, which an array would hold as well
        (b"[2]", "it is no object"),
        (b'{"step": 2', "it is no JSON"),
        (b"", "it is no JSON"),
        (b"[" * 100_000, "maximum recursion depth"),
    ],
)
def test_an_old_journal_is_read_up_to_the_line_that_is_no_row(tmp_path: Path, line: bytes, fault: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 4}\n')
    read = journal.read(path)
    assert read.rows == [{"step": 1}]
    assert (read.fault or "").startswith(f"line 2: {fault}")
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n')
    assert journal.read(path) == journal.Journal([{"step": 1}, {"step": 2}])
