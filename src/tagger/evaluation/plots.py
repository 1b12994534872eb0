"""The two plots of a report, as SVG that stands in a page and takes its colours from there.

A template of a few lines draws them, `templates/plot.svg`: both axes go from 0 to 1.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from tagger.evaluation.breakdown import Point
from tagger.evaluation.measures import Judged, agresti_coull, reliability

_WIDTH, _HEIGHT = 400, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 12, 44
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


class _Line(NamedTuple):
    points: Sequence[tuple[float, float]]
    style: str
    """Classes that the page's style sheet knows."""

    label: str = ""


def reliability_plot(judged: Judged) -> Any:
    """Return how often tags are right against what their confidences state, as Markup."""
    lines, dots = [_Line([(0, 0), (1, 1)], "faint dashed")], []
    for stated, right, count in reliability(judged):
        low, high = agresti_coull(right, count)
        lines.append(_Line([(stated, low), (stated, high)], "accent"))
        dots.append((stated, right))
    return _plot("reliability", "mean confidence", "share that is right", lines, dots)


def threshold_plot(points: Sequence[Point], threshold: float) -> Any:
    """Return precision and recall against the threshold, with the chosen one, as Markup."""
    precision = [(point.threshold, point.precision) for point in points]
    recall = [(point.threshold, point.recall) for point in points]
    lines = [
        _Line([(threshold, 0), (threshold, 1)], "ink dotted"),
        _Line(precision, "accent", "precision"),
        _Line(recall, "second dashed", "recall"),
    ]
    return _plot("threshold", "threshold", "share", lines)


def _plot(
    name: str,
    across: str,
    up: str,
    lines: Sequence[_Line],
    dots: Sequence[tuple[float, float]] = (),
) -> Any:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    template = (files(__package__) / "templates" / "plot.svg").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return Markup(  # noqa: S704 (what the template was given has been escaped)
        environment.from_string(template).render(
            name=name,
            across=across,
            up=up,
            lines=lines,
            dots=dots,
            ticks=_TICKS,
            width=_WIDTH,
            height=_HEIGHT,
            x=lambda share: round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1),
            y=lambda share: round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1),
        )
    )
