"""What a run does about damaged files before it trains: named, set aside, and written anew where that is known."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from typing import Any

from sweep.request.trials import PlannedTrial
from trainables.records import atomic_files, journal, planned_trials
from trainables.records.damage import evaluation_faults, faults_of, told
from trainables.records.record import SweepFolder, TrialRecord, config_content


def is_damaged(folder: SweepFolder) -> bool:
    """Tell whether a run would mend anything of the trials' own files."""
    return any(_mendable(record) for record in folder.records())


def trials_entry(folder: SweepFolder, trials: Iterable[PlannedTrial]) -> dict[str, Any]:
    """Return what sweep.json is to say of every trial: those of the folder, and those of this plan."""
    content = {one.folder_name: config_content(one.trial, one.index, one.name, one.label) for one in trials}
    for record in folder.records():
        config = _config(record)
        if config is not None:
            content[record.folder.name] = config
    return planned_trials.packed(dict(sorted(content.items())))


def mend(folder: SweepFolder) -> list[str]:
    """Set aside what is damaged and write anew what is known, under the lease of `folder`; say what was done.

    sweep.json has every trial by now.
    """
    return [f"{record.folder.name}: {sentence}" for record in folder.records() for sentence in _mend(record)]


def _mend(record: TrialRecord) -> Iterable[str]:
    faults = _mendable(record)
    config = _config(record)
    if record.config_path.name in faults and config is not None:
        record.keep_config(config)
        yield "config.json was damaged and is written anew from the plan"
    for path in record.journals:
        if path.name in faults:
            rows = journal.read(path).rows
            record.fence()
            if path.exists():
                shutil.copyfile(path, atomic_files.free_name(path))
            journal.write(path, rows)
            yield f"{path.name} {faults[path.name]}, and cut back to these"
    result = record.result()
    if result and any(path.name in faults for path in record.journals):
        record.write_result(result)
    if record.result_path.name in faults:
        record.fence()
        aside = atomic_files.set_aside(record.result_path).name
        yield f"result.json is damaged and set aside as {aside}: it runs again"
    for path in sorted((record.folder / "evals").glob("*")):
        if not path.name.endswith(".damaged") and (found := evaluation_faults(record, path.name)):
            record.fence()
            yield f"{told(found)}; set aside as {atomic_files.set_aside(path).name}"


def _mendable(record: TrialRecord) -> dict[str, str]:
    kept = (record.config_path.name, record.result_path.name, *(path.name for path in record.journals))
    return {name: why for name, why in faults_of(record).items() if name in kept and not why.startswith("was ")}


def _config(record: TrialRecord) -> dict[str, Any] | None:
    try:
        content = record.config()
    except (FileNotFoundError, atomic_files.DamagedFile):
        return None
    return {key: value for key, value in content.items() if key != "schema"}
