"""The page of `tagger eval --report`: all of an evaluation in one file that needs no other.

Whatever is from READMEs or the vocabulary is escaped, and the page's policy lets nothing run but
its own script and nothing be fetched.
"""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from tagger import __version__
from tagger._util.files import check_target as check
from tagger._util.files import reporting, write_atomically
from tagger._util.text import printable
from tagger.evaluation.breakdown import by_tag, by_threshold, misses
from tagger.evaluation.evaluate import Evaluation
from tagger.evaluation.measures import (
    MEASURES,
    Judged,
    error_by_chance,
    intervals,
    measure,
    reliability,
)
from tagger.evaluation.plots import reliability_plot, threshold_plot
from tagger.selection import Selection

GENERATOR = f"tagger {__version__}"

MISSES = 12
"""READMEs that are shown as the worst misses."""


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
            "interval": beside.get(name, ""),
            "meaning": MEASURES[name][1],
        }
        for name, value in measures.items()
    ]


def _figures(judged: Judged, selection: Selection, threshold: float) -> list[dict[str, Any]]:
    figures = []
    if judged.given.any():
        figures.append(
            {
                "svg": reliability_plot(judged),
                "caption": f"Reliability of the {judged.given.sum():,} given tags, in "
                f"{len(reliability(judged))} bins of equal number: the share that was right, with "
                "95 % intervals (Agresti and Coull), against what was stated. Confidences hold "
                "on the diagonal.",
            }
        )
    points = by_threshold(judged, selection)
    figures.append(
        {
            "svg": threshold_plot(points, threshold),
            "caption": f"Precision and recall of the given tags ({selection.min_tags} to "
            f"{selection.max_tags} a README) against the threshold. The line marks the chosen one, "
            f"{threshold:.2f}.",
        }
    )
    return figures
