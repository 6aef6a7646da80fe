"""Everything that a comparison allows one to say, each part computed when first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from analysis.comparison.comparison import Comparison
from analysis.findings import baselines, choice, effects, mixed_model, sentences, winner
from analysis.findings.baseline_sentences import baseline_sentences
from analysis.findings.baselines import BaselineTest
from analysis.findings.effect_sentences import effect_sentences
from analysis.findings.effects import Effect, EffectShare, Trend
from analysis.findings.mixed_model import CrossedDifference
from analysis.findings.searches import bounds, draws
from analysis.findings.searches import importance as importances
from analysis.findings.searches import progress as progresses
from analysis.findings.searches.bounds import AtBound
from analysis.findings.searches.draws import ExpectedBest
from analysis.findings.searches.importance import Importance
from analysis.findings.searches.progress import SearchStep
from analysis.findings.searches.told import SearchFindings, search_sentences
from analysis.findings.winner import AgainstBest, Agreement, BestOfLevel, Winner
from analysis.texts import behaviour, examples, outputs
from analysis.texts.behaviour import Panel
from analysis.texts.outputs import System


@dataclass(frozen=True)
class Findings:
    """The findings of a comparison; `tests` is by the deciding metric alone, `every_test` by all of them."""

    comparison: Comparison

    @cached_property
    def tests(self) -> tuple[BaselineTest, ...]:
        return baselines.against_baselines(self.comparison, [self.comparison.metric])

    @cached_property
    def every_test(self) -> tuple[BaselineTest, ...]:
        others = [name for name in self.comparison.metrics if name != self.comparison.metric]
        return (*self.tests, *baselines.against_baselines(self.comparison, others))

    @cached_property
    def winner(self) -> Winner | None:
        """What the choice is worth; None where several objectives leave no single one."""
        return None if self.comparison.front else winner.winner(self.comparison)

    @cached_property
    def against_best(self) -> tuple[AgainstBest, ...]:
        return winner.against_best(self.comparison)

    @cached_property
    def levels(self) -> tuple[BestOfLevel, ...]:
        return winner.best_per_level(self.comparison)

    @cached_property
    def agreement(self) -> tuple[Agreement, ...]:
        return winner.metric_agreement(self.comparison)

    @cached_property
    def effects(self) -> tuple[Effect, ...]:
        return effects.effects(self.comparison)

    @cached_property
    def shares(self) -> tuple[EffectShare, ...]:
        return effects.effect_shares(self.comparison)

    @cached_property
    def trends(self) -> tuple[Trend, ...]:
        return effects.trends(self.comparison)

    @cached_property
    def importance(self) -> tuple[Importance, ...]:
        """Importance of the axes of a search; it loads Optuna, for searches alone."""
        return importances.importance(self.comparison)

    @cached_property
    def expected_best(self) -> tuple[ExpectedBest, ...]:
        return draws.expected_best_curve(self.comparison)

    @cached_property
    def progress(self) -> tuple[SearchStep, ...]:
        return progresses.progress(self.comparison)

    @cached_property
    def bounds(self) -> tuple[AtBound, ...]:
        return bounds.at_bounds(self.comparison)

    @cached_property
    def search_sentences(self) -> list[str]:
        """What a search amounts to; none for a grid."""
        known = SearchFindings(self.importance, self.expected_best, self.progress, self.bounds)
        return search_sentences(self.comparison, known)

    @cached_property
    def mixed(self) -> CrossedDifference | None:
        """The best against its baseline by a mixed model; it takes seconds, and loads statsmodels, with seeds alone."""
        return mixed_model.against_baseline(self.comparison)

    @cached_property
    def panel(self) -> Panel:
        """How the texts of the reported split are made: it reads and measures all of them."""
        return behaviour.panel(outputs.collect(self.comparison))

    @cached_property
    def pair(self) -> tuple[System, System | None] | None:
        """The texts of the best configuration's trial and of its baseline."""
        return examples.pair(self.comparison, self.panel)

    @cached_property
    def unlike(self) -> list[str]:
        """Where the texts of the best are unlike the references, in sentences."""
        return behaviour.sentences(self.panel, *(one.name for one in self.pair if one)) if self.pair else []

    @cached_property
    def notes(self) -> dict[str, list[str]]:
        """Notes on each configuration by name."""
        return choice.notes(self.comparison, self.tests, self.winner, self.against_best)

    @cached_property
    def conclusions(self) -> list[str]:
        """What a reader must know, in whole sentences, the best configuration first."""
        return sentences.conclusions(self.comparison)

    @cached_property
    def sentences(self) -> list[str]:
        """What the tests, the winner and the effects amount to; what `conclusions` says is not repeated."""
        return [
            *baseline_sentences(self.comparison, self.tests),
            *choice.sentences(self.comparison, self.winner, self.agreement),
            *effect_sentences(self.comparison, self.effects, self.trends),
            *self.search_sentences,
            *self._left_out(),
        ]

    def _left_out(self) -> list[str]:
        """Say whose scores could not be used."""
        found = self.comparison.scores[self.comparison.table.split]
        said = []
        if found.misaligned:
            names = ", ".join(found.misaligned)
            said.append(f"Scored on other examples than the rest, and compared on those in common alone: {names}.")
        if found.missing:
            said.append(f"Predictions that cannot be read, so without tests: {', '.join(found.missing)}.")
        return said
