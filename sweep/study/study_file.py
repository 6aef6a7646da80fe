"""`optuna.db` in a sweep's folder: the study as Optuna and its dashboard read it, a view of the records.

It is written beside a search and must never end one: a file that is locked is written later, one that is damaged is
made anew, and where neither works `fault` says so.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from search_spaces.objectives import Objective
from search_spaces.points import Search
from sweep.study.end_running import connect
from sweep.study.rows import SCHEMA, STUDY_ID, Distributions, cut_after, distributions_of, write_trial
from sweep.study.study_trial import StudyTrial
from trainables.errors import UserError
from trainables.records import atomic_files
from trainables.records.record import SweepFolder

LOCKED_S = 1.0  # that another process may keep the file before a write is put off
LAST_S = 5.0  # the same, where there is no later

Numbered = Mapping[int, StudyTrial]
"""Trials by number: their places in the study."""


def check_is_ours(path: Path, name: str) -> None:
    """Raise UserError where a file holds the study of another experiment; one that cannot be read is made anew."""
    try:
        with contextlib.closing(connect(path, LAST_S)) as connection:
            names = [one for (one,) in connection.execute("SELECT study_name FROM studies")]
    except (sqlite3.Error, UnicodeError):
        return
    others = [one for one in names if one != name]
    if others:
        raise UserError(
            f"{path} holds the study {others[0]!r} of another experiment, not {name!r} alone: move it away, or name "
            "another folder with --out"
        )


class StudyFile:
    """The study file of a sweep; `fault` says why it is not as it should be, None where it is."""

    def __init__(self, folder: SweepFolder, name: str, space: Search, objectives: Sequence[Objective]) -> None:
        self.folder = folder
        self.name = name
        self.space = space
        self.objectives = objectives
        self.fault: str | None = None
        self._distributions: Distributions = distributions_of(space)
        self._trials: dict[int, StudyTrial] = {}
        self._put_off: set[int] = set()  # numbers of trials that are still to be written

    @property
    def path(self) -> Path:
        return self.folder.study_path

    def open(self, trials: Numbered) -> None:
        """Make the file say what the records say; UserError where it is the study of another experiment.

        A file that is torn, or that somebody else made, is set aside.
        """
        check_is_ours(self.path, self.name)
        if self.path.is_file() and not self._is_whole():  # a folder of this name stays, and is told as a fault
            with contextlib.suppress(OSError):
                atomic_files.set_aside(self.path)
        self.write(trials, LAST_S)

    def write(self, trials: Numbered, locked_s: float) -> None:
        """Write trials, and those that were put off; all of them where the file is gone or damaged by now."""
        self._trials |= trials
        self._put_off |= trials.keys()
        self.folder.fence()
        try:
            self._write(locked_s)
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and _is_locked(error):
                self.fault = f"{self.path} is locked by another process: it is not up to date"
                return
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        if self._put_off:
            try:
                self._write(locked_s)
            except (sqlite3.Error, OSError) as error:
                self.fault = f"{self.path} cannot be written: {' '.join(str(error).split())}"
                return
        self.fault = None

    def _write(self, locked_s: float) -> None:
        is_new = not self.path.exists()
        if is_new:
            atomic_files.write_bytes(self.path, _empty())
        with contextlib.closing(connect(self.path, locked_s)) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # a power cut may cost the file: it is made anew
            with connection:
                for number in sorted(self._trials if is_new else self._put_off):
                    trial = self._trials[number]
                    write_trial(connection, number, trial, self.space, self.objectives, self._distributions)
                if is_new or len(self._put_off) == len(self._trials):
                    cut_after(connection, len(self._trials))
                    self._write_study(connection)
        self._put_off.clear()

    # --- what is there ---------------------------------------------------------------------------------------------

    def _is_whole(self) -> bool:
        """Tell whether Optuna's tables of today are there, with the study and nothing torn; a locked file may be."""
        try:
            with contextlib.closing(connect(self.path, LAST_S)) as connection:
                (verdict,) = connection.execute("PRAGMA quick_check").fetchone()
                version = connection.execute("SELECT schema_version FROM version_info").fetchone()
                study = connection.execute("SELECT study_id FROM studies").fetchone()
                connection.execute("SELECT count(*) FROM trial_intermediate_values").fetchone()
                connection.execute("SELECT count(*) FROM trial_system_attributes").fetchone()
        except sqlite3.Error as error:
            return _is_locked(error)
        return verdict == "ok" and version == (SCHEMA,) and study == (STUDY_ID,)

    # --- what is written -------------------------------------------------------------------------------------------

    def _write_study(self, connection: sqlite3.Connection) -> None:
        """Write what the study says of itself: its name, directions and names of its objectives."""
        connection.execute("UPDATE studies SET study_name = ?", (self.name,))
        connection.execute("DELETE FROM study_directions")
        connection.executemany(
            "INSERT INTO study_directions (direction, study_id, objective) VALUES (?, ?, ?)",
            [(one.direction.upper(), STUDY_ID, place) for place, one in enumerate(self.objectives)],
        )
        names = json.dumps([one.name for one in self.objectives])
        connection.execute("DELETE FROM study_system_attributes WHERE key = 'study:metric_names'")
        connection.execute(
            "INSERT INTO study_system_attributes (study_id, key, value_json) VALUES (?, 'study:metric_names', ?)",
            (STUDY_ID, names),
        )


def _is_locked(error: sqlite3.Error) -> bool:
    return error.sqlite_errorcode in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


@cache
def _empty() -> bytes:
    """Return a file as Optuna creates it with a study without trials; that takes it a second."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="packsweep-study-") as scratch:
        made = Path(scratch) / "optuna.db"
        storage = optuna.storages.RDBStorage(f"sqlite:///{made}")
        try:
            optuna.create_study(storage=storage, study_name="empty")
        finally:
            storage.engine.dispose()
        return made.read_bytes()
