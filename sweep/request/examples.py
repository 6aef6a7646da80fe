"""The examples that a sweep keeps in its folder: those that its trials read, from the data or as kept (no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sweep.request.trials import PlannedTrial, known_trials
from trainables.config import EvalConfig
from trainables.data.corpus import Corpus, Example, evaluation_order, example_of, training_order
from trainables.errors import UserError
from trainables.jobs import TRAIN_LOSS_EXAMPLES
from trainables.records import atomic_files
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder

KEPT_EVALUATION_EXAMPLES = 2_000  # so that a later evaluation on more needs no source

Wanted = dict[Path, tuple[str, int | None, int]]
"""Path -> split, data_seed of a training set, number of examples that trials read."""

Examples = dict[Path, list[Example]]


def examples_wanted(folder: SweepFolder, planned: Sequence[PlannedTrial], evaluation: EvalConfig) -> Wanted:
    """Return what the trials of a plan read, and those of earlier requests of files that are there.

    `evaluation` is the largest that there may be of them.
    """
    wanted: Wanted = {}
    asked = [(trial.trial.train.data_seed, trial.trial.train.train_examples) for trial in planned]
    earlier = [(one.train["data_seed"], one.train["train_examples"]) for one in known_trials(folder) if one.train]
    for seed, count in (*asked, *(one for one in earlier if folder.train_examples_path(one[0]).exists())):
        path = folder.train_examples_path(seed)
        wanted[path] = ("train", seed, max(count, wanted.get(path, ("", 0, 0))[2]))
    for split, count in evaluation.examples.items():
        wanted[folder.evaluation_examples_path(split)] = (split, None, count)
    return wanted


def examples_from(wanted: Wanted, corpus: Corpus) -> Examples:
    """Return what each file of the sweep's data is to hold; raises UserError where the corpus is too small."""
    found = {}
    for path, (split, seed, count) in wanted.items():
        there = corpus.splits.get(split, [])
        if count > len(there):
            raise UserError(
                f"{split}_examples must be at most {len(there)}, the size of the {split} split, got {count}"
            )
        ordered = evaluation_order(there) if seed is None else training_order(there, seed)
        found[path] = ordered[: max(count, KEPT_EVALUATION_EXAMPLES if seed is None else TRAIN_LOSS_EXAMPLES)]
    return found


def examples_on_disk(wanted: Wanted, manifest: SweepManifest) -> Examples | None:
    """Return the examples that the sweep keeps, None where they are too few, absent or damaged."""
    found = {}
    for path, (_, _, count) in wanted.items():
        if not path.exists():
            return None
        if atomic_files.sha256_of(path) != manifest.files.get(path.name):
            return None
        found[path] = [example_of(row) for row in atomic_files.read_lines(path)]
        if len(found[path]) < count:
            return None
    return found
