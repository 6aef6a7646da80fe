"""`python -m benchmarks.settling`: what races of eight configurations lose, settle and cost, on sweeps of known truth.

The sweeps are drawn from scores per example: of finished sweeps that are named (`--sweep runs/one,runs/other`), or made
up by what was measured of such scores, or those of turns of real dialogues as their summaries (`--turns
../shared/real/samsum`). The same is asked of other procedures at one margin with `--challengers`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from analysis.statistics.multiple_testing import ALPHA, Array
from analysis.statistics.racing import Bounds, Race, RaceRules, looks, race
from benchmarks import confidence_sequences, output
from benchmarks.drawn_sweeps import KINDS, DrawnSweep, calibrated, drawn, of_sweep, of_turns
from sweep.cli_support import command
from sweep.cli_support.options import JsonOption
from trainables.errors import UserError

CONFIGURATIONS = 8
FIXED_MARGIN = 0.016  # at which procedures are compared: about what the examples settle
COLUMNS = ("lost", "false claim", "settled", "separated", "regret", "texts", "margin")


@dataclass(frozen=True)
class RaceOutcomes:
    """Means over races: shares, regret and margin in points, `texts` as a share of the full evaluation's.

    `lost`: the choice is worse than the truly best by more than the margin, whatever the verdict. `false_claim`: some
    bound that the race stated of the truly best does not hold.
    """

    races: int
    lost: float
    false_claim: float
    settled: float
    separated: float
    regret: float
    texts: float
    margin: float

    @property
    def cells(self) -> list[str]:
        shares = [f"{100 * one:.1f}%" for one in (self.lost, self.false_claim, self.settled, self.separated)]
        return [*shares, f"{self.regret:.2f}", f"{100 * self.texts:.1f}%", f"{self.margin:.2f}"]


def outcome(sweep: DrawnSweep, found: Race) -> tuple[float, ...]:
    """Return what one race lost, claimed, settled and cost."""
    assert found.best is not None
    assert found.margin is not None
    regret = sweep.gaps[found.best] - min(sweep.gaps.values())
    best = next(one for one in found.standings if one.name == sweep.best)
    is_false = regret > max(best.at_most, 0.0) + 1e-12 or (best.at_most < 0 and best.name != found.best)
    total = len(sweep.scores) * len(next(iter(sweep.scores.values())))
    return (
        regret > found.margin + 1e-12,
        is_false,
        found.verdict in ("separated", "equivalent"),
        found.verdict == "separated",
        100 * regret,
        sum(one.examples for one in found.standings) / total,
        100 * found.margin,
    )


def raced(sweeps: Iterable[DrawnSweep], rules: RaceRules, bounds: Bounds | None = None) -> RaceOutcomes:
    """Race sweeps and return the means of what came of them."""
    found = np.array([outcome(one, race(one.scores, rules, bounds)) for one in sweeps], dtype=float)
    return RaceOutcomes(len(found), *found.mean(axis=0).tolist())


def simulate(
    matrices: Sequence[Array], rules: RaceRules, sweeps: int, seed: int, bounds: Bounds | None = None
) -> dict[str, RaceOutcomes]:
    """Race sweeps of every kind from every matrix, `sweeps` in all."""
    each = max(1, sweeps // (len(KINDS) * len(matrices)))
    found = {}
    for number, (kind, gaps) in enumerate(KINDS.items()):
        parts = [
            drawn(one, gaps, each, rules.looks[-1], 1_000 * seed + 10 * number + place)
            for place, one in enumerate(matrices)
        ]
        found[kind] = raced((sweep for part in parts for sweep in part), rules, bounds)
    return found


def least_favourable(matrices: Sequence[Array], rules: RaceRules, sweeps: int, seed: int) -> RaceOutcomes:
    """Race sweeps in which all but one are worse by just more than the margin: the error is largest there."""
    assert rules.margin is not None
    gaps = [0.0] + [100 * rules.margin + 0.01] * (CONFIGURATIONS - 1)
    each = max(1, sweeps // len(matrices))
    parts = [drawn(one, gaps, each, rules.looks[-1], 7_000 + seed + place) for place, one in enumerate(matrices)]
    return raced((sweep for part in parts for sweep in part), rules)


def mean_of(found: Mapping[str, RaceOutcomes]) -> RaceOutcomes:
    """Return the means over kinds, each counting alike."""
    fields = ("lost", "false_claim", "settled", "separated", "regret", "texts", "margin")
    means = {name: float(np.mean([getattr(one, name) for one in found.values()])) for name in fields}
    return RaceOutcomes(sum(one.races for one in found.values()), **means)


def challengers(rules: RaceRules) -> dict[str, Bounds | None]:
    """Return the procedures that are compared, by name."""
    alpha, most = rules.alpha / (CONFIGURATIONS - 1), rules.looks[-1]
    return {
        "alpha spending, t": None,
        "asymptotic sequence": confidence_sequences.asymptotic(alpha, most // 2),
        "betting": confidence_sequences.betting(alpha),
        "betting for the end": confidence_sequences.betting(alpha, most),
        "empirical Bernstein": confidence_sequences.empirical_bernstein(alpha),
    }


def settling(
    sweep: Annotated[
        str, typer.Option("--sweep", help="Finished sweeps whose scores are drawn: runs/one,runs/two.")
    ] = "",
    turns: Annotated[Path | None, typer.Option("--turns", help="Folder of SAMSum: draw scores of its turns.")] = None,
    sweeps: Annotated[int, typer.Option("--sweeps", help="Sweeps to race.")] = 2_000,
    examples: Annotated[int, typer.Option("--examples", help="Validation examples to be had.")] = 800,
    seed: Annotated[int, typer.Option("--seed", help="Of all draws.")] = 0,
    compare: Annotated[bool, typer.Option("--challengers", help="Compare with anytime-valid procedures.")] = False,
    results: output.ResultsOption = output.RESULTS,
    as_json: JsonOption = False,
) -> int:
    """Race sweeps of known truth, and say what was lost, settled and saved."""
    output.positive("--sweeps", sweeps)
    output.positive("--examples", examples)
    matrices = _matrices(sweep, turns)
    rules = RaceRules(looks(16, examples))
    parts: list[Any] = []
    found = simulate(matrices, rules, sweeps, seed)
    found["all kinds"] = mean_of(found)
    parts.append(output.table(f"Margin auto, {examples} examples", ("sweeps", "races", *COLUMNS), _rows(found)))
    fixed = RaceRules(rules.looks, FIXED_MARGIN)
    errors = {
        f"others worse by {margin}": least_favourable(matrices, RaceRules(rules.looks, margin / 100), sweeps, seed)
        for margin in (1.6, 2, 3, 5)
    }
    parts.append(output.table("Others worse by just more than a given margin", ("", "races", *COLUMNS), _rows(errors)))
    facts = {"auto": found, "least_favourable": errors}
    if compare:
        other = {
            name: mean_of(simulate(matrices, fixed, sweeps, seed, bounds))
            for name, bounds in challengers(fixed).items()
        }
        parts.append(
            output.table(f"Margin {100 * FIXED_MARGIN:g}, all kinds", ("bounds", "races", *COLUMNS), _rows(other))
        )
        facts["procedures"] = other
    parts.append(_note(matrices, bool(sweep or turns)))
    given = {" --sweep ...": sweep, " --turns ...": turns, " --challengers": compare}
    name = "settling" + "".join(option for option, value in given.items() if value)
    made = {part: {kind: vars(one) for kind, one in rows.items()} for part, rows in facts.items()}
    output.publish(output.Findings(name, parts, made), output.device_of("cpu", "pocket"), results, as_json)
    return command.DONE


def _matrices(sweep: str, turns: Path | None) -> list[Array]:
    found = [of_sweep(Path(one)) for one in sweep.split(",")] if sweep else []
    if turns is not None:
        if not (turns / "val.json").is_file():
            raise UserError(f"--turns must be a folder with val.json and test.json of SAMSum, got {str(turns)!r}")
        found.append(of_turns(turns))
    return found or [calibrated()]


def _rows(found: Mapping[str, RaceOutcomes]) -> list[list[str]]:
    return [[name, f"{one.races:,}", *one.cells] for name, one in found.items()]


def _note(matrices: Sequence[Array], is_real: bool) -> str:
    said = []
    for one in matrices:
        together = np.asarray(np.corrcoef(one))[np.triu_indices(len(one), 1)]
        spread = np.std(one[:, None] - one, axis=2)[np.triu_indices(len(one), 1)]
        said.append(
            f"{len(one)} configurations x {one.shape[1]} examples, mean {100 * one.mean():.1f}, SD "
            f"{100 * one.std(axis=1).mean():.1f}, correlation {together.mean():.2f}, SD of paired differences "
            f"{100 * spread.min():.1f} to {100 * spread.max():.1f}"
        )
    origin = "Real scores" if is_real else "Scores made up"
    return (
        f"{origin}: {'; '.join(said)}. Settled: separated or equivalent within the margin. Lost: the choice is worse "
        f"than the best by more than the margin, settled or not. Error asked for: {100 * ALPHA:g}%. Texts: share of "
        "the full evaluation's. Regret and margin in points."
    )


app = command.app(settling)

if __name__ == "__main__":
    sys.exit(command.execute(app, "benchmarks.settling"))
