"""What of a race is to be evaluated next, as the records of a sweep tell (no torch).

Which examples each configuration has been scored on is read from its evaluations, whoever asked for them; the race is
replayed from these every time (`analysis.statistics.racing`). So nothing of it is kept that could be lost.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.settle.replicates import NewReplicate, ReplicateStep, replicate_step, seed_of
from sweep.settle.settle_plan import SettlePlan
from trainables.config import EvalConfig, TrialConfig, eval_id
from trainables.data.corpus import Example, example_of
from trainables.jobs import TrialJob
from trainables.records import atomic_files
from trainables.records.manifest import SweepManifest
from trainables.records.record import SweepFolder, TrialRecord
from trainables.scoring.stored_lines import stored_lines

if TYPE_CHECKING:
    from analysis.statistics.racing import Race


@dataclass(frozen=True)
class Entrant:
    """A configuration in a race: its runs, and the scores of the first examples, the mean over its runs."""

    name: str
    runs: tuple[TrialRecord, ...]
    scores: tuple[float, ...]
    texts: int  # that its runs have written


@dataclass(frozen=True)
class SettleStep:
    """How a race stands: what is to be evaluated now (nothing: it is over), and under which evaluation it is told."""

    race: Race | None  # None: no configuration has been scored yet
    jobs: tuple[TrialJob, ...]
    evaluation: EvalConfig
    texts: int  # that have been written
    texts_of_all: int  # that all configurations would have written on all examples
    replicates: ReplicateStep | None = None  # of those left, where seeds may be added

    @property
    def new(self) -> tuple[NewReplicate, ...]:
        """The trials among the jobs that are not in the sweep yet."""
        return self.replicates.new if self.replicates is not None else ()

    @property
    def is_over(self) -> bool:
        return not self.jobs

    @property
    def verdict(self) -> str:
        return self.race.verdict if self.race is not None else "going"


def next_step(plan: SettlePlan, folder: SweepFolder, given_up: Collection[str] = ()) -> SettleStep:
    """Return how the race of a sweep stands; `given_up`: folder names of trials whose evaluation has failed."""
    from analysis.statistics.race_rules import LEAST_MARGIN, RaceRules, looks
    from analysis.statistics.racing import race

    trained = [one for one in folder.records() if one.folder.name not in given_up and _is_trained(one)]
    examples = _examples(folder, plan.whole)
    baselines = [one for one in trained if one.config()["kind"] == "baseline"]
    entrants = _entrants([one for one in trained if one not in baselines], plan, examples)
    written = sum(one.texts for one in entrants.values())
    written += sum(_texts_of(stored_lines(one, plan.whole, examples)) for one in baselines)
    runs = sum(len(one.runs) for one in entrants.values()) + len(baselines)
    of_all = runs * sum(plan.whole.examples.values())
    if not entrants:
        return SettleStep(None, (), plan.first, written, of_all)
    sizes = looks(plan.first.validation_examples, plan.whole.validation_examples)
    found = race({name: one.scores for name, one in entrants.items()}, RaceRules(sizes, plan.margin))
    seen = found.looks[-1].examples if found.looks else plan.first.validation_examples
    if found.verdict == "going":
        jobs = _jobs([run for name in found.going for run in entrants[name].runs], plan.look(found.next_examples))
        return SettleStep(found, jobs, plan.look(seen), written, of_all)
    report = plan.report(seen)
    names = reported(found) if plan.most_seeds == 1 else left_of(found)
    jobs = _jobs([run for name in names for run in entrants[name].runs], report)
    jobs += _jobs(baselines, baseline_evaluation(plan, seen))
    if jobs or plan.most_seeds == 1:
        return SettleStep(found, jobs, plan.look(seen) if jobs else report, written, of_all)

    def mean_of(run: TrialRecord) -> float | None:
        scores = _scores(stored_lines(run, report, examples), examples["validation"][:seen], plan.metric)
        return math.fsum(scores) / seen if len(scores) == seen and not run.needs_evaluation(eval_id(report)) else None

    margin = found.margin if found.margin is not None else LEAST_MARGIN
    more = replicate_step(folder, names, report, mean_of, margin, plan.most_seeds, given_up)
    added = _texts_of_replicates(trained, entrants, plan, examples)
    written, of_all = written + sum(added), of_all + len(added) * sum(plan.whole.examples.values())
    return SettleStep(found, more.jobs if more else (), report, written, of_all, more)


def left_of(found: Race) -> tuple[str, ...]:
    """Return who may be run with other seeds: who is reported on, and those that are as good within the margin."""
    alike = [one.name for one in found.standings if one.state == "equivalent"]
    return tuple(dict.fromkeys((*reported(found), *alike)))


def reported(found: Race) -> tuple[str, ...]:
    """Return who is reported on at the end: the best, those that are still open, and the one that came nearest."""
    scored = set(found.looks[-1].scored)
    rest = sorted((one for one in found.standings if one.name in scored), key=lambda one: one.difference)
    others = [one for one in rest if one.name != found.best]
    kept = [one.name for number, one in enumerate(others) if number == 0 or one.state == "open"]
    return (found.best or "", *kept)


def baseline_evaluation(plan: SettlePlan, seen: int) -> EvalConfig:
    """Return how baselines are evaluated at the end: on validation no more than at first, where test is reported on."""
    return plan.report(plan.first.validation_examples if plan.whole.test_examples else seen)


def told(manifest: SweepManifest, plan: SettlePlan, step: SettleStep) -> SweepManifest:
    """Return sweep.json with how the race stands, and the evaluation that its table is of."""
    race = {"race": step.race.as_json() if step.race is not None else None, "is_over": step.is_over}
    texts = {"texts": step.texts, "texts_of_all": step.texts_of_all}
    race["replicates"] = step.replicates.as_json() if step.replicates is not None else None
    values: dict[str, Any] = {
        "settle": json.loads(json.dumps({**plan.as_json(), **race, **texts})),  # as it is read again
        "evaluation": step.evaluation.model_dump(mode="json"),
        "eval_id": eval_id(step.evaluation),
    }
    return manifest.model_copy(update=values)


def _is_trained(record: TrialRecord) -> bool:
    result = record.result()
    return result is not None and result.is_trained


def _examples(folder: SweepFolder, evaluation: EvalConfig) -> dict[str, list[Example]]:
    paths = {split: folder.evaluation_examples_path(split) for split in evaluation.examples}
    counts = evaluation.examples
    return {
        split: [example_of(row) for row in atomic_files.read_lines(path)[: counts[split]]] if path.exists() else []
        for split, path in paths.items()
    }


def _entrants(
    records: Sequence[TrialRecord], plan: SettlePlan, examples: Mapping[str, Sequence[Example]]
) -> dict[str, Entrant]:
    """Return the configurations that have been evaluated at a first look, by name, in their order."""
    runs: dict[str, list[tuple[TrialRecord, list[float], int]]] = {}
    for record in records:
        lines = stored_lines(record, plan.whole, examples)
        scores = _scores(lines, examples["validation"], plan.metric)
        if len(scores) >= plan.first.validation_examples:
            runs.setdefault(record.config()["name"], []).append((record, scores, _texts_of(lines)))
    found = {}
    for name, every in runs.items():
        # Where a race adds seeds, the first one of each has raced alone.
        each = every if plan.most_seeds == 1 else [min(every, key=lambda one: seed_of(one[0]))]
        shared = min(len(scores) for _, scores, _ in each)
        means = np.array([scores[:shared] for _, scores, _ in each]).mean(axis=0)
        found[name] = Entrant(name, tuple(one for one, _, _ in each), tuple(means), sum(count for _, _, count in each))
    return found


def _scores(lines: Mapping[str, Mapping[str, Any]], examples: Sequence[Example], metric: str) -> list[float]:
    """Return the scores of the examples in their order, up to the first without one."""
    found: list[float] = []
    for example in examples:
        if (line := lines["validation"].get(example.id)) is None:
            break
        found.append(float(line["scores"][metric]))
    return found


def _texts_of_replicates(
    trained: Sequence[TrialRecord],
    entrants: Mapping[str, Entrant],
    plan: SettlePlan,
    examples: Mapping[str, Sequence[Example]],
) -> list[int]:
    """Return how many texts each trial has that was added after the race over examples."""
    raced = {run.folder for one in entrants.values() for run in one.runs}
    others = [one for one in trained if one.folder not in raced and one.config()["kind"] != "baseline"]
    return [_texts_of(stored_lines(one, plan.whole, examples)) for one in others]


def _texts_of(lines: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(len(one) for one in lines.values())


def _jobs(records: Sequence[TrialRecord], evaluation: EvalConfig) -> tuple[TrialJob, ...]:
    """Return a job for each record that lacks an evaluation, or the texts that it is made of."""
    identity = eval_id(evaluation)
    lacking = [one for one in records if one.needs_evaluation(identity)]
    trials = [TrialConfig(train=one.train_config(), evaluation=evaluation) for one in lacking]
    return tuple(TrialJob(str(one.folder), trial) for one, trial in zip(lacking, trials, strict=True))
