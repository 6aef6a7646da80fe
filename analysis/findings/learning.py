"""What a trial's own curves say: hardly learned, still learning, flat or overfitting, and the likely cause.

The loss on the validation examples decides; the untrained model's own loss, where a baseline with the same prompt was
evaluated, is its value at step 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from analysis.comparison.candidates import baseline_of, candidates
from analysis.format.lists import listed
from analysis.records.table import ResultRow, ResultTable
from trainables.metric_table import LOSS
from trainables.records.trial_states import FAILURES, TrialState

if TYPE_CHECKING:
    import pandas as pd

HARDLY = 0.02  # share of the first loss that counts as learning
WORSE = 0.02  # rise from the best to the last loss, as a share, that counts as overfitting
GOES_ON = 0.01  # fall that as many steps again would bring at the last slope, as a share, that counts as learning still
CLIPPED = 0.8

StepLoss = tuple[int, float]


@dataclass(frozen=True)
class LossCurves:
    """The curves of one trial: (step, loss) of training and of evaluation, `start` the untrained model's."""

    name: str
    label: str
    train: tuple[StepLoss, ...]
    evaluation: tuple[StepLoss, ...]
    start: float | None
    row: ResultRow
    clipped: float  # share of steps whose gradient was clipped
    tokens: int

    @property
    def points(self) -> tuple[StepLoss, ...]:
        """The evaluation losses with the untrained model's as step 0."""
        return self.evaluation if self.start is None else ((0, self.start), *self.evaluation)


@dataclass(frozen=True)
class CurveVerdict:
    """What the curves of a trial say; slope and its 95% interval are losses per 10 steps, over its later half."""

    name: str
    label: str
    verdict: (
        str  # "hardly learned", "still learning" (or "perhaps"), "flat", "overfitting", "too short to tell", a state
    )
    sentence: str
    cause: str
    first: float | None = None
    best: float | None = None
    best_step: int | None = None
    last: float | None = None
    slope: float | None = None
    low: float | None = None
    high: float | None = None


def curves(table: ResultTable) -> list[LossCurves]:
    """Return the curves of every configuration that trained at all."""
    found = []
    for row in table.of_kind("configuration"):
        if row.record is None or row.train is None:
            continue
        lines = row.record.metrics()
        train = [line for line in lines if line.get("kind") == "train"]
        norms = [line["grad_norm"] for line in train if line.get("grad_norm") is not None]
        clipped = sum(norm > row.train.max_grad_norm for norm in norms) / len(norms) if norms else 0.0
        curve = LossCurves(
            name=table.name_of(row),
            label=row.label,
            train=_points(train, "train_loss"),
            evaluation=_points([line for line in lines if line.get("kind") == "eval"], LOSS),
            start=_start(table, row),
            row=row,
            clipped=clipped,
            tokens=sum(int(line.get("tokens") or 0) for line in train),
        )
        if curve.train or curve.evaluation:
            found.append(curve)
    return found


def verdicts(table: ResultTable, found: Sequence[LossCurves] | None = None) -> list[CurveVerdict]:
    """Return a verdict for every configuration that trained at all."""
    every = curves(table) if found is None else list(found)
    return [judge_curves(curve, every) for curve in every]


def judge_curves(curve: LossCurves, others: Sequence[LossCurves] = ()) -> CurveVerdict:
    """Return the verdict on one trial's curves; `others` of the same sweep name the likelier cause."""
    state = curve.row.state
    points = [point for point in curve.points if math.isfinite(point[1])]
    if state in FAILURES:
        diverged = state == TrialState.DIVERGED
        said = f"{curve.name} {'diverged' if diverged else 'did not finish'} after step {_last_step(curve)}."
        cause = "the learning rate is too high for this rank and batch" if diverged else curve.row.cause or ""
        return CurveVerdict(curve.name, curve.label, state, said, cause)
    if len(points) < 3:
        said = f"{curve.name} has {len(points)} evaluations of its loss: too few for a verdict."
        return CurveVerdict(
            curve.name, curve.label, "too short to tell", said, "evaluate more often (eval_every_steps)"
        )
    first, last = points[0][1], points[-1][1]
    best_step, best = min(points, key=lambda point: (point[1], point[0]))
    later = points[-max(3, math.ceil(len(curve.evaluation) / 2)) :]
    slope, low, high = (10 * value for value in line_slope([x for x, _ in later], [y for _, y in later]))
    facts = (first, best, best_step, last, slope, low, high)
    trend = f"{slope:+.3f} per 10 steps [{low:+.3f}, {high:+.3f}] from step {later[0][0]}"
    to_come = slope / 10 * (points[-1][0] - points[0][0])
    if first - best < HARDLY * first:
        fall = 100 * (first - last) / first
        change = f"by {fall:.1f}%" if fall >= 0 else f"by {-fall:.1f}%, upward,"
        said = f"{curve.name} hardly learned: its loss moved {change} from {first:.4f} to {last:.4f}."
        return CurveVerdict(curve.name, curve.label, "hardly learned", said, _why_hardly(curve, others), *facts)
    if last - best > WORSE * best:
        said = (
            f"{curve.name} overfits: its loss was best, {best:.3f}, at step {best_step} and is {last:.3f} at the end."
        )
        return CurveVerdict(curve.name, curve.label, "overfitting", said, _why_overfit(curve, best_step), *facts)
    goes_on = -to_come > GOES_ON * last
    if goes_on and high < 0:
        said = f"{curve.name} was still learning: {trend}."
        return CurveVerdict(curve.name, curve.label, "still learning", said, _why_on(curve), *facts)
    if goes_on:
        said = f"{curve.name} may have been learning still: {trend}."
        cause = "too few evaluations to tell a fall from noise: evaluate more often (eval_every_steps)"
        return CurveVerdict(curve.name, curve.label, "perhaps still learning", said, cause, *facts)
    said = f"{curve.name} learned and is flat: {first:.3f} to {last:.3f}, in the end {trend}."
    return CurveVerdict(curve.name, curve.label, "flat", said, _why_flat(curve), *facts)


def line_slope(steps: Sequence[float], losses: Sequence[float]) -> tuple[float, float, float]:
    """Return the slope of a straight line through the losses and its 95% t interval, infinite for two points."""
    from scipy.special import stdtrit

    n = len(steps)
    x_mean, y_mean = math.fsum(steps) / n, math.fsum(losses) / n
    spread = math.fsum((x - x_mean) ** 2 for x in steps)
    slope = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(steps, losses, strict=True)) / spread
    if n < 3:
        return slope, -math.inf, math.inf
    left = math.fsum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in zip(steps, losses, strict=True))
    half = float(stdtrit(n - 2, 0.975)) * math.sqrt(left / (n - 2) / spread)
    return slope, slope - half, slope + half


def summary(found: Sequence[CurveVerdict]) -> str:
    """Say in one sentence how many trials got which verdict; empty without any."""
    groups: dict[str, list[str]] = {}
    for one in found:
        groups.setdefault(one.verdict, []).append(one.name)
    parts = [f"{verdict}: {listed(names)}" for verdict, names in groups.items()]
    return f"By their own curves, {'; '.join(parts)}." if parts else ""


def frame(found: Sequence[CurveVerdict]) -> pd.DataFrame:
    """Return the verdicts as a data frame, a row per trial."""
    import pandas as pd

    return pd.DataFrame([vars(one) for one in found], columns=list(CurveVerdict.__dataclass_fields__))


def _points(lines: Sequence[dict[str, Any]], key: str) -> tuple[StepLoss, ...]:
    values = {int(line["step"]): float(line[key]) for line in lines if line.get(key) is not None}
    return tuple(sorted(values.items()))


def _start(table: ResultTable, row: ResultRow) -> float | None:
    """Return the untrained model's loss with the same prompt, on the examples of the curve."""
    if "validation" not in table.evaluation.examples:
        return None
    found = candidates([row], "validation", LOSS)
    baseline = baseline_of(table, found[0], LOSS) if found else None
    return baseline.row.mean("validation", LOSS) if baseline else None


def _last_step(curve: LossCurves) -> int:
    return max((step for step, _ in (*curve.train, *curve.evaluation)), default=0)


def _why_hardly(curve: LossCurves, others: Sequence[LossCurves]) -> str:
    train = curve.row.train
    assert train is not None
    fell = [one for one in others if (fall := _fall(one)) is not None and fall > HARDLY]
    faster = [one for one in fell if one.row.train and one.row.train.learning_rate > train.learning_rate]
    if faster:
        best = max(faster, key=lambda one: _fall(one) or 0)
        assert best.row.train is not None
        return (
            f"the learning rate {train.learning_rate:g} is too low: with {best.row.train.learning_rate:g} "
            f"{best.name} fell by {100 * (_fall(best) or 0):.0f}%"
        )
    if curve.clipped > CLIPPED:
        return f"the gradient was clipped to {train.max_grad_norm:g} in {100 * curve.clipped:.0f}% of the steps"
    seen = train.max_steps * train.batch_size * train.gradient_accumulation_steps
    return f"the learning rate {train.learning_rate:g} is too low, or {train.max_steps} steps ({seen} examples) too few"


def _why_overfit(curve: LossCurves, best_step: int) -> str:
    train = curve.row.train
    assert train is not None
    seen = best_step * train.batch_size * train.gradient_accumulation_steps
    passes = seen / train.train_examples
    cause = f"{train.train_examples} training examples, seen {passes:.1f} times by step {best_step}"
    half = [loss for _, loss in curve.train]
    if len(half) >= 8 and statistics.fmean(half[-len(half) // 4 :]) < statistics.fmean(half[: len(half) // 4]):
        cause += ", while the training loss went on falling"
    keep = "" if train.keep_checkpoint == "best" else ", or keep_checkpoint='best'"
    return f"{cause}: fewer steps, more examples, a lower rate{keep}"


def _why_on(curve: LossCurves) -> str:
    train = curve.row.train
    assert train is not None
    if train.schedule == "constant":
        return "training ended before the curve did: more steps, or a higher rate"
    return (
        f"training ended before the curve did: a longer {train.schedule} schedule (it ends at rate 0) or a higher rate"
    )


def _why_flat(curve: LossCurves) -> str:
    train = curve.row.train
    assert train is not None
    if train.schedule != "constant":
        return f"it converged, or the {train.schedule} schedule had run out of rate: only a longer run tells"
    return "it converged: more steps of the same would change little"


def _fall(curve: LossCurves) -> float | None:
    points = [value for _, value in curve.points if math.isfinite(value)]
    return (points[0] - min(points)) / points[0] if len(points) > 1 and points[0] else None
