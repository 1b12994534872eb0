"""The page of `tagger eval --report`: all of an evaluation in one file that needs no other.

Plots are inline SVG, whose colours are the page's own, so that they are readable in light and dark.
Whatever is from READMEs or the vocabulary is escaped, and the page's policy lets nothing run but
its own script and nothing be fetched.
"""

import base64
import hashlib
import io
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagger import __version__
from tagger._util.files import check_target as check
from tagger._util.files import reporting, write_atomically
from tagger._util.text import printable
from tagger.evaluation.breakdown import (
    Point,
    by_tag,
    by_threshold,
    misses,
)
from tagger.evaluation.evaluate import Evaluation
from tagger.evaluation.measures import (
    MEASURES,
    Judged,
    error_by_chance,
    intervals,
    measure,
    reliability,
)
from tagger.selection import Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GENERATOR = f"tagger {__version__}"

MISSES = 12
"""READMEs that are shown as the worst misses."""

_COLOURS = {
    "#010101": "--ink",
    "#010102": "--faint",
    "#010103": "--line",
    "#010104": "--accent",
    "#010105": "--second",
}
"""Colours that a plot is drawn in, and the variables of the page that take their places."""

_INK, _FAINT, _LINE, _ACCENT, _SECOND = _COLOURS


def check_target(path: Path) -> None:
    """Make sure, before anything is scored, that a report can be written to a file.

    Raises:
        OutputError: it cannot.
        UsageError: there is another file.

    """
    mark = b'<meta name="generator" content="tagger '

    def ours() -> bool:
        with path.open("rb") as file:
            return mark in file.read(1000)

    check(path, ours, "report of tagger eval")


def save(path: Path, page: str) -> None:
    """Write a page. Raises `OutputError`."""
    with reporting(printable(str(path))):
        write_atomically(path, page)


def render(evaluation: Evaluation, about: str) -> str:
    """Return the page of an evaluation.

    Args:
        evaluation: what came of the labelled READMEs.
        about: what tagged them, for people.

    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    judged, vocabulary = evaluation.judged, evaluation.vocabulary
    selection, threshold = evaluation.selection, evaluation.threshold or 0.0
    about = (
        f"{len(vocabulary)} tags, {about}; {selection.min_tags} to {selection.max_tags} a README"
    )
    templates = files(__package__) / "templates"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_visible, keep_trailing_newline=True
    )
    script = (templates / "sort.js").read_text(encoding="utf-8")
    sha = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page: str = environment.from_string(
        (templates / "report.html").read_text(encoding="utf-8")
    ).render(
        generator=GENERATOR,
        readmes=f"{len(evaluation.labels):,}",
        about=about,
        measures=_measures(judged),
        figures=_figures(judged, selection, threshold) if judged.sure else [],
        tags=by_tag(judged, vocabulary),
        misses=misses(judged, evaluation.labels, vocabulary, evaluation.read, MISSES),
        sure=judged.sure,
        script=Markup(script),  # noqa: S704 (the package's own)
        script_hash=Markup(f"sha256-{sha}"),  # noqa: S704
    )
    return page


def _visible(value: Any) -> Any:
    """Make control characters of READMEs and tags visible; Markup and numbers are let through."""
    if type(value) is not str:
        return value
    return "\n".join(map(printable, value.split("\n")))


def _measures(judged: Judged) -> list[dict[str, str]]:
    beside = {name: f"{low:.3f} to {high:.3f}" for name, (low, high) in intervals(judged).items()}
    measures = measure(judged)
    if "ece" in measures:
        beside["ece"] = f"{error_by_chance(judged):.3f} by chance"
    return [
        {
            "name": MEASURES[name][0],
            "value": f"{value:.3f}",
            "interval": beside[name],
            "meaning": MEASURES[name][1],
        }
        for name, value in measures.items()
    ]


def _figures(judged: Judged, selection: Selection, threshold: float) -> list[dict[str, Any]]:
    figures = []
    if judged.given.any():
        figures.append(
            {
                "svg": _svg("reliability", lambda axes: _reliability(axes, judged)),
                "caption": f"Reliability of the {judged.given.sum():,} given tags, in "
                f"{len(reliability(judged))} bins of equal number: the share that was right, with "
                "95 % intervals (Wilson), against what was stated. Confidences hold on the "
                "diagonal.",
            }
        )
    points = by_threshold(judged, selection)
    figures.append(
        {
            "svg": _svg("threshold", lambda axes: _trade_off(axes, points, threshold)),
            "caption": f"Precision and recall of the given tags ({selection.min_tags} to "
            f"{selection.max_tags} a README) against the threshold. The line marks the chosen one, "
            f"{threshold:.2f}.",
        }
    )
    return figures


def _reliability(axes: "Axes", judged: Judged) -> None:
    from scipy.stats import binomtest

    axes.plot([0, 1], [0, 1], color=_FAINT, linestyle="--", linewidth=1)
    for stated, right, count in reliability(judged):
        limits = binomtest(round(right * count), count).proportion_ci(method="wilson")
        axes.plot([stated, stated], [limits.low, limits.high], color=_ACCENT, linewidth=1.5)
        axes.plot([stated], [right], color=_ACCENT, marker="o", markersize=7)
    axes.set(xlabel="mean confidence", ylabel="share that is right")


def _trade_off(axes: "Axes", points: Sequence[Point], threshold: float) -> None:
    at = [point.threshold for point in points]
    axes.axvline(threshold, color=_INK, linewidth=1, linestyle=":")
    axes.plot(at, [point.precision for point in points], color=_ACCENT, label="precision")
    recalls = [point.recall for point in points]
    axes.plot(at, recalls, color=_SECOND, linestyle="--", label="recall")
    axes.legend(frameon=False, labelcolor=_INK, loc="lower left")
    axes.set(xlabel="threshold", ylabel="share")


def _svg(name: str, draw: Any) -> Any:
    """Return a plot from 0 to 1 on both axes as SVG for the page."""
    from markupsafe import Markup
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,  # names of parts are then the same each time, and the figure's own
        "font.family": "sans-serif",
        "font.size": 11,
        "axes.edgecolor": _LINE,
        "axes.labelcolor": _FAINT,
        "xtick.color": _FAINT,
        "ytick.color": _FAINT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": _LINE,
    }
    with rc_context(settings):
        figure = Figure(figsize=(5, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=True, linewidth=0.6)
        axes.set_axisbelow(True)
        draw(axes)
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02))
        written = io.StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = svg.replace("font: 11px sans-serif", "font: 11px system-ui, sans-serif")
    for colour, variable in _COLOURS.items():
        svg = svg.replace(colour, f"var({variable})")
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
    return Markup(svg)  # noqa: S704 (drawn from numbers alone)
