"""The plausible mistakes of a plan, named by `plan` and `run` alike before a step is spent (no torch)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from search_spaces.experiment import Experiment
from sweep.request import estimates
from sweep.request.found_sources import FoundSources
from sweep.request.trials import PlannedTrial
from trainables.data.corpus import Corpus, Example, evaluation_order, training_order
from trainables.sanity_checks import adapter_sizes, prompt_rows, settings, splits, texts
from trainables.startup_progress import stage
from trainables.tokenization.encoder import load_encoder

PREFIX = "perhaps a mistake: "


@stage("looking for mistakes in the data")
def in_data(corpus: Corpus) -> list[str]:
    """Return what looks like a mistake in the data; seconds at 20,000 examples, so a sweep keeps it."""
    report = corpus.report["splits"]
    return [PREFIX + one for one in (*texts.find(corpus.splits, report), *splits.find(corpus.splits, report))]


@stage("looking for mistakes in prompts and settings")
def in_plan(
    planned: Sequence[PlannedTrial],
    experiment: Experiment,
    folders: Mapping[str, str],
    training: Callable[[int], Sequence[Example]],
    evaluated: Mapping[str, Sequence[Example]],
) -> list[str]:
    """Return what looks like a mistake in prompts and settings; `training` is asked by data_seed."""
    trains = [trial.trial.train for trial in planned]
    found = settings.find(trains, experiment.evaluation, experiment.grid.axes, experiment.search is not None)
    found += adapter_sizes.find(trains, folders) if folders else []
    if folders and evaluated:
        found += prompt_rows.find(_prompts(planned, folders, training, evaluated))
    return [PREFIX + one for one in found]


def in_plan_of(
    planned: Sequence[PlannedTrial],
    experiment: Experiment,
    bases: FoundSources,
    corpus: Corpus | None,
    about_data: Sequence[str] = (),
) -> list[str]:
    """Return what a run would say of these trials on these data; `about_data`: what it says of the data alone."""
    if corpus is None or not bases.found:
        return in_plan(planned, experiment, {}, lambda _: (), {})
    train = corpus.splits["train"]
    counts = planned[0].trial.evaluation.examples
    evaluated = {split: evaluation_order(corpus.splits[split])[:count] for split, count in counts.items()}
    found = in_plan(planned, experiment, bases.model_folders, lambda seed: training_order(train, seed), evaluated)
    return [*about_data, *found]


def _prompts(
    planned: Sequence[PlannedTrial],
    folders: Mapping[str, str],
    training: Callable[[int], Sequence[Example]],
    evaluated: Mapping[str, Sequence[Example]],
) -> list[prompt_rows.PromptUsage]:
    """Return every prompt with every model and length that it is used with, each once."""
    encoders = {folder: load_encoder(folder) for folder in dict.fromkeys(folders.values())}
    found: dict[tuple[str, str, int], prompt_rows.PromptUsage] = {}
    for trial in planned:
        train = trial.trial.train
        folder = folders[train.model]
        limit = estimates.limit_tokens(train, folder)
        if (folder, train.prompt, limit) in found:  # configurations come before baselines
            continue
        found[folder, train.prompt, limit] = prompt_rows.PromptUsage(
            name=train.prompt,
            template=train.prompt_template,
            model=train.model,
            encoder=encoders[folder],
            folder=Path(folder),
            limit_tokens=limit,
            max_new_tokens=trial.trial.evaluation.max_new_tokens,
            training=() if train.is_baseline else training(train.data_seed)[: train.train_examples],
            evaluated=evaluated,
        )
    return list(found.values())
