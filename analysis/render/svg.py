"""Figures as inline SVG: colors are the page's own variables, text is text, no figure says by color alone.

matplotlib draws with stand-in colors that become CSS variables, so that one drawing serves light, dark and print. Text
stays text: it is read aloud, found and copied. `Drawing.files` makes files of the same drawing, in the page's light
colors, for a paper or a slide.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from trainables.visible_text import visible, visible_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SERIES = 8
WIDTH = 7.4  # inches: one for all, so that text has one size
# Names of colors, which mean one thing on a page and another in a file.
INK, RULE, MUTED, SURFACE = "page:ink", "page:rule", "page:muted", "page:surface"
SERIES_COLORS = tuple(f"page:c{place}" for place in range(SERIES))
# On a page: stand-ins for its variables; matplotlib writes them as they are.
STAND_INS = {INK: "#fe00fa", RULE: "#fe00fb", MUTED: "#fe00fc", SURFACE: "#fe00fd"}
STAND_INS |= {color: f"#fe00f{place}" for place, color in enumerate(SERIES_COLORS)}
VARIABLES = {INK: "currentColor", RULE: "var(--rule)", MUTED: "var(--muted)", SURFACE: "var(--surface)"}
VARIABLES |= {color: f"var(--c{place})" for place, color in enumerate(SERIES_COLORS)}
# In a file: the light ones of page.css.
LIGHT = {INK: "#1b1f24", RULE: "#d5dae0", MUTED: "#57606a", SURFACE: "#ffffff"}
LIGHT |= dict(
    zip(
        SERIES_COLORS,
        ("#0072b2", "#c24e00", "#007a5a", "#a1418f", "#7f6200", "#332288", "#882255", "#44697d"),
        strict=True,
    )
)
DOTS_PER_INCH = 160
# Told apart without color: a marker and a line style each.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (5, 2, 1, 2)),
    (0, (8, 3)),
    (0, (3, 2)),
    "-",
    (0, (5, 2)),
)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "packsweep",
    "text.parse_math": False,
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": RULE,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.0,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "figure.constrained_layout.use": True,
}


NamedPoint = tuple[str, float, float]
Limits = Sequence[tuple[str, float]]
Series = tuple[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Drawing:
    """A figure: its SVG for a page, what it shows in words, and what draws its files, by their ending."""

    name: str
    svg: str
    title: str
    about: str
    files: Callable[[], dict[str, bytes]] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Bar:
    """One line of a forest plot: a difference with its interval, solid where it is `clear`."""

    label: str
    value: float
    low: float
    high: float
    is_clear: bool
    is_best: bool = False


@dataclass(frozen=True)
class Track:
    """One trial's losses: (step, loss) in training and evaluation; without `place` it is drawn in the background."""

    name: str
    train: Sequence[tuple[int, float]]
    evaluation: Sequence[tuple[int, float]]
    place: int | None


@dataclass(frozen=True)
class Spot:
    """One configuration by cost and quality."""

    name: str
    cost: float
    quality: float


def draw_forest(name: str, title: str, about: str, panels: Sequence[tuple[str, Sequence[Bar]]]) -> Drawing:
    """Draw differences with their intervals, a panel per comparison, over the same lines."""
    labels = list(dict.fromkeys(bar.label for _, bars in panels for bar in bars))

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, (heading, bars) in zip(axes, panels, strict=True):
            axis.axvline(0, color=INK, linewidth=0.8)
            axis.grid(axis="x")
            for bar in bars:
                _bar(axis, labels.index(bar.label), bar)
            axis.set_xlabel(heading)
            axis.set_ylim(len(labels) - 0.4, -0.6)
            axis.tick_params(axis="y", length=0)
        axes[0].set_yticks(range(len(labels)), list(map(visible_line, labels)))

    return draw_figure(name, title, about, draw, (WIDTH, 0.9 + 0.27 * len(labels)))


def draw_curves(name: str, title: str, about: str, tracks: Sequence[Track]) -> Drawing:
    """Draw training and evaluation losses by step, side by side on one scale."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, 2)
        for axis, heading in zip(axes, ("training loss", "evaluation loss"), strict=True):
            axis.grid()
            axis.set_xlabel("step")
            axis.set_title(heading)
        axes[0].set_ylabel("loss per token")
        _background(axes, [track for track in tracks if track.place is None])
        for track in tracks:
            if track.place is not None:
                _track(axes[0], track, track.place, track.train, marker="")
                _track(axes[1], track, track.place, track.evaluation, marker=MARKERS[track.place])
        _zoom(axes[1], [loss for track in tracks for _, loss in track.evaluation[1:] if math.isfinite(loss)])
        handles, names = axes[1].get_legend_handles_labels()
        if handles:
            figure.legend(handles, names, loc="outside right upper", frameon=False, handlelength=3)

    return draw_figure(name, title, about, draw, (WIDTH, 3.4))


def draw_costs(
    name: str, title: str, about: str, quality: str, panels: Sequence[tuple[str, str, Sequence[Spot]]]
) -> Drawing:
    """Draw quality against each cost, a panel each: (axis title, unit, spots); the Pareto set is joined and named."""
    rows = math.ceil(len(panels) / 2)

    def draw(figure: Figure) -> None:
        axes = figure.subplots(rows, 2, sharey=True, squeeze=False)
        for axis, (heading, unit, spots) in zip(axes.flat, panels, strict=False):
            front = pareto([(spot.cost, spot.quality) for spot in spots])
            line = sorted((spots[place].cost, spots[place].quality) for place in front)
            axis.grid()
            axis.step(*zip(*line, strict=True), where="post", color=SERIES_COLORS[0], linewidth=1.2)
            for is_front in (False, True):
                drawn = [spot for place, spot in enumerate(spots) if (place in front) == is_front]
                xs, ys = [spot.cost for spot in drawn], [spot.quality for spot in drawn]
                face = SERIES_COLORS[0] if is_front else SURFACE
                axis.plot(xs, ys, "o", markersize=5.5, markerfacecolor=face, markeredgecolor=SERIES_COLORS[0])
                for spot in drawn if is_front or len(spots) <= 16 else ():
                    axis.annotate(spot.name, (spot.cost, spot.quality), xytext=(5, 4), textcoords="offset points")
            axis.set_xlabel(f"{heading} ({unit})" if unit else heading)
            axis.margins(0.12)
        for axis in list(axes.flat)[len(panels) :]:
            axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel(quality)

    return draw_figure(name, title, about, draw, (WIDTH, 2.7 * rows))


def draw_half_normal(
    name: str, title: str, about: str, unit: str, points: Sequence[NamedPoint], limits: Limits
) -> Drawing:
    """Draw absolute effects against half-normal quantiles (Daniel 1959): noise lies on a line, effects above it.

    Args:
        points: (name, absolute effect, quantile), ascending.
        limits: (name, size) of what an effect must exceed.
    """

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.grid()
        for place, (label, size) in enumerate(limits):
            axis.axhline(size, color=MUTED, linewidth=1, linestyle=DASHES[place + 1])
            axis.annotate(
                label,
                (0, size),
                xycoords=("axes fraction", "data"),
                xytext=(4, 3),
                textcoords="offset points",
                color=MUTED,
            )
        top = max(*(size for _, size in limits), *(size for _, size, _ in points))
        named: list[float] = []
        for label, size, quantile in reversed(points):
            axis.plot(quantile, size, "o", color=SERIES_COLORS[0])
            # The largest are named; the small ones lie on each other, and are in the table.
            if all(abs(size - other) > top / 14 for other in named):
                named.append(size)
                axis.annotate(label, (quantile, size), xytext=(-7, 4), textcoords="offset points", ha="right")
        axis.set_xlabel("half-normal quantile")
        axis.set_ylabel(f"absolute effect ({unit})")
        axis.set_ylim(bottom=0)
        axis.margins(0.1)

    return draw_figure(name, title, about, draw, (WIDTH, 3.4))


def draw_lines(name: str, title: str, about: str, axes: tuple[str, str], series: Sequence[Series]) -> Drawing:
    """Draw (name, points) over one axis: an expected best over trials, a trend over an ordered axis."""

    def draw(figure: Figure) -> None:
        axis = figure.subplots()
        axis.grid()
        for place, (label, points) in enumerate(series[:SERIES]):
            xs, ys = zip(*points, strict=True)
            axis.plot(xs, ys, marker=MARKERS[place], color=SERIES_COLORS[place], linestyle=DASHES[place], label=label)
        axis.set_xlabel(axes[0])
        axis.set_ylabel(axes[1])
        if len(series) > 1:
            axis.legend(frameon=False, handlelength=3)

    return draw_figure(name, title, about, draw, (WIDTH, 3.2))


def pareto(points: Sequence[tuple[float, float]]) -> set[int]:
    """Return the places of the (cost, quality) that none beats: as cheap and better, or cheaper and as good."""
    front: set[int] = set()
    best = (math.inf, -math.inf)
    for place in sorted(range(len(points)), key=lambda one: (points[one][0], -points[one][1])):
        if points[place][1] > best[1] or points[place] == best:
            front.add(place)
            best = points[place]
    return front


def _bar(axis: Axes, place: int, bar: Bar) -> None:
    color = SERIES_COLORS[1] if bar.is_best else SERIES_COLORS[0]
    low, high = (value if math.isfinite(value) else bar.value for value in (bar.low, bar.high))
    axis.plot([low, high], [place, place], color=color, linewidth=2.2 if bar.is_best else 1.4, solid_capstyle="butt")
    face = color if bar.is_clear else SURFACE
    axis.plot(bar.value, place, "D" if bar.is_best else "o", markersize=6, markerfacecolor=face, markeredgecolor=color)


def _zoom(axis: Axes, losses: Sequence[float]) -> None:
    """Show what came after the untrained model's loss, which is far off: the lines come down from it."""
    if losses:
        low, high = min(losses), max(losses)
        margin = 0.08 * (high - low) or 0.05
        axis.set_ylim(low - margin, high + 2 * margin)


def _background(axes: Sequence[Axes], tracks: Sequence[Track]) -> None:
    """Draw the tracks without a color of their own as one piece each side: there may be a thousand."""
    from matplotlib.collections import LineCollection

    for axis, lists in zip(axes, zip(*((one.train, one.evaluation) for one in tracks), strict=True), strict=False):
        finite = [[point for point in points if math.isfinite(point[1])] for points in lists]
        axis.add_collection(LineCollection([one for one in finite if len(one) > 1], colors=RULE, linewidths=0.8))
        axis.autoscale_view()


def _track(axis: Axes, track: Track, place: int, points: Sequence[tuple[int, float]], marker: str) -> None:
    finite = [(step, loss) for step, loss in points if math.isfinite(loss)]
    if finite:
        steps, losses = zip(*finite, strict=True)
        style = {"color": SERIES_COLORS[place], "linestyle": DASHES[place], "marker": marker}
        axis.plot(steps, losses, linewidth=1.5, markersize=4, label=track.name, **style)


Draw = Callable[["Figure"], None]
Size = tuple[float, float]


def draw_figure(name: str, title: str, about: str, draw: Draw, size: Size) -> Drawing:
    """Return what `draw` draws on a figure of `size` inches as part of a page."""
    name = f"figure-{name}"  # the page has ids of its own
    with _figure(draw, size, STAND_INS) as figure:
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        text = io.StringIO()
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    return Drawing(name, _inline(svg, name, title, about), title, about, partial(_files, svg, draw, size))


def _files(svg: str, draw: Draw, size: Size) -> dict[str, bytes]:
    """Return a figure as files by their ending; without a date, so that the same figure has the same bytes."""
    for color, stand_in in STAND_INS.items():
        svg = svg.replace(stand_in, LIGHT[color])
    head, rest = svg[svg.index("<svg") :].split(">", 1)
    ground = f'<rect width="100%" height="100%" fill="{LIGHT[SURFACE]}"/>'
    with _figure(draw, size, LIGHT) as figure:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        figure.set_dpi(DOTS_PER_INCH)
        image = io.BytesIO()
        FigureCanvasAgg(figure).print_png(image, metadata={"Software": None})
    prolog = '<?xml version="1.0" encoding="utf-8"?>'
    return {".svg": f"{prolog}\n{head}>{ground}{rest}".encode(), ".png": image.getvalue()}


@contextmanager
def _figure(draw: Draw, size: Size, colors: dict[str, str]) -> Iterator[Figure]:
    """Draw in `colors` on no ground of its own; what is written while it lasts has the style."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    known = mpl.colors.get_named_colors_mapping()
    for name, color in colors.items():
        known[name] = color  # one by one: `update` would leave matplotlib's memory of the last colors
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, facecolor=colors[SURFACE])
        draw(figure)
        for one in figure.findobj(Text):
            one.set_text(visible(one.get_text()))
        for axis in figure.axes:
            axis.patch.set_visible(False)
        figure.patch.set_visible(colors is LIGHT)
        yield figure


def _inline(svg: str, name: str, title: str, about: str) -> str:
    """Make a drawing part of a page: no prolog, own ids, variables for colors, a title and a description."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for color, variable in VARIABLES.items():
        svg = svg.replace(STAND_INS[color], variable)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)  # the page's own
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    head, rest = svg.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    labelled = f' role="img" aria-labelledby="{name}-title {name}-about"'
    title, about = (escape(visible(one)) for one in (title, about))
    words = f'<title id="{name}-title">{title}</title><desc id="{name}-about">{about}</desc>'
    return f"{head}{labelled}>{words}{rest}"
