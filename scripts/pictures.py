"""Draw the pictures of docs/pictures.md, the same bytes each time.

explain="tagger explain examples/readmes/tumblewick.md --tags tags.json --effort fast --json"
$explain --head none > docs/pictures/zero-shot.json
$explain > docs/pictures/learned.json
python scripts/pictures.py
"""

import json
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"

PAPER, INK, MUTED, LIGHT = "#fcfbf7", "#22303c", "#66737f", "#dfe3e0"
TEAL, ORANGE, BLUE, PURPLE = "#0f766e", "#c8551f", "#3b6fb6", "#7a5195"

DARK = {
    PAPER: "#1e2129",
    INK: "#e6e9ef",
    MUTED: "#a3adb8",
    LIGHT: "#3a404c",
    TEAL: "#2dd4bf",
    ORANGE: "#fb923c",
    BLUE: "#7aa7e8",
    PURPLE: "#c4a1e0",
}
"""The colours for readers who prefer a dark page, by those for a light one."""

SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "tagger",
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def save(figure: Figure, name: str) -> None:
    """Write a picture that follows the reader's choice of light or dark."""
    path = FOLDER / name
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark}!important}}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme: dark){{{rules}}}</style>"
    text = re.sub(r"[ \t]+\n", "\n", path.read_text(encoding="utf-8"))
    path.write_text(text.replace("<defs>", style + "<defs>", 1), encoding="utf-8")


def bare(axes: Axes) -> None:
    """Show no axes."""
    axes.set_axis_off()


def label(axes: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Write a text in the middle of a place."""
    axes.text(x, y, text, **({"ha": "center", "va": "center"} | options))


def box(
    axes: Axes, x: float, y: float, text: str, colour: str, width: float, height: float
) -> None:
    """Draw a box around a text."""
    corner = (x - width / 2, y - height / 2)
    style = "round,pad=0,rounding_size=0.12"
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=style, fc=PAPER, ec=colour, lw=1.4)
    )
    label(axes, x, y, text, fontsize=8.5)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """Draw an arrow."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 1.2})


PARTS = (
    ("instructions", 1.1, MUTED),
    ("list as given", 2.2, BLUE),
    ("list reversed", 2.2, PURPLE),
    ("README", 2.6, TEAL),
    ("question 1", 0.9, BLUE),
    ("its tree", 0.9, BLUE),
    ("question 2", 0.9, PURPLE),
    ("its tree", 0.9, PURPLE),
)
"""Parts of a pass: name, length, colour."""

SEES = {
    0: (),
    1: (0,),
    2: (0,),
    3: (0, 1),
    4: (0, 1, 3),
    5: (0, 1, 3, 4),
    6: (0, 2, 3),
    7: (0, 2, 3, 6),
}
"""The parts that each one attends to, beside what came before in itself."""


def attention(axes: Axes) -> None:
    """Draw what attends to what."""
    bare(axes)
    ends = np.cumsum([0.0, *(length for _, length, _ in PARTS)])
    total = float(ends[-1])
    for row, (name, height, colour) in enumerate(PARTS):
        top = total - ends[row]
        for column in range(len(PARTS)):
            at, width = ends[column], PARTS[column][1]
            place = (at + 0.05, top - height + 0.05)
            size = (width - 0.1, height - 0.1)
            if column in SEES[row]:
                axes.add_patch(Rectangle(place, *size, fc=PARTS[column][2], alpha=0.75, lw=0))
            elif column == row:
                left, low, right, high = (
                    at + 0.05,
                    top - height + 0.05,
                    at + width - 0.05,
                    top - 0.05,
                )
                axes.fill((left, left, right), (high, low, low), fc=colour, alpha=0.75, lw=0)
            else:
                axes.add_patch(Rectangle(place, *size, fc=LIGHT, alpha=0.45, lw=0))
        label(axes, -0.2, top - height / 2, name, ha="right", fontsize=8.5)
        label(
            axes,
            ends[row] + height / 2,
            total + 0.15,
            name,
            rotation=40,
            ha="left",
            va="bottom",
            fontsize=8.5,
            rotation_mode="anchor",
        )
    for rows, text in (
        ((0, 3), "read once,\nkept on disk"),
        ((3, 8), "one pass\nfor each\nREADME"),
    ):
        high, low = total - ends[rows[0]] - 0.1, total - ends[rows[1]] + 0.1
        axes.plot((total + 0.2,) * 2, (low, high), color=MUTED, lw=1)
        label(axes, total + 0.4, (low + high) / 2, text, ha="left", fontsize=8.5, color=MUTED)
    axes.set_xlim(-2.9, total + 2.7)
    axes.set_ylim(-0.1, total + 2.1)
    axes.set_aspect("equal")


def tree(axes: Axes) -> None:
    """Draw the tokens of five tags as a tree."""
    bare(axes)
    axes.set_title("All tags are one tree of tokens")
    nodes = {
        '{"tags": ["': (1.0, 2.0, MUTED),
        "game": (3.2, 3.4, TEAL),
        "-engine": (5.2, 3.4, TEAL),
        "http": (3.2, 2.0, ORANGE),
        "-client": (5.2, 2.0, ORANGE),
        "cli": (3.2, 0.6, BLUE),
    }
    edges = (('{"tags": ["', "game"), ("game", "-engine"), ('{"tags": ["', "http"),
             ("http", "-client"), ('{"tags": ["', "cli"))  # fmt: skip
    for one, other in edges:
        (x, y, _), (to_x, to_y, colour) = nodes[one], nodes[other]
        half = 0.85 if one.startswith("{") else 0.6
        arrow(axes, (x + half, y), (to_x - 0.62, to_y), colour)
    for name, (x, y, colour) in nodes.items():
        box(axes, x, y, name, colour, 1.7 if name.startswith("{") else 1.2, 0.75)
    label(axes, 6.0, 3.4, "game-engine", ha="left", fontsize=8.5, color=MUTED)
    label(axes, 6.0, 2.0, "http-client", ha="left", fontsize=8.5, color=MUTED)
    label(
        axes, 4.0, 0.6, "a node attends to its ancestors alone", ha="left", fontsize=8, color=MUTED
    )
    axes.set_xlim(0, 7.9)
    axes.set_ylim(0, 4)


def prior(axes: Axes, explained: dict[str, Any]) -> None:
    """Draw how likely some tags are with and without the README."""
    found = {tag["name"].strip(): tag for tag in explained["tags"]}
    likely = sorted(list(found)[2:], key=lambda name: -found[name]["prior"])
    names = [*list(found)[:2], *likely[:3]]
    for place, name in enumerate(reversed(names)):
        tag = found[name]
        axes.plot((tag["prior"], tag["log_prob"]), (place, place), color=LIGHT, lw=5, zorder=1)
        axes.scatter(tag["prior"], place, color=ORANGE, s=34, zorder=2)
        axes.scatter(tag["log_prob"], place, color=TEAL, s=34, zorder=3)
    axes.set_yticks(range(len(names)), list(reversed(names)), color=INK)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlabel("log-probability, nats")
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False)


def reading(explained: dict[str, Any]) -> Figure:
    """Draw prompt, lists, README, questions, tree and prior."""
    figure: Figure = plt.figure(figsize=(9.6, 5.3))
    left = figure.add_axes((0.0, 0.02, 0.53, 0.9))
    figure.text(0.02, 0.95, "What attends to what", weight="bold", fontsize=10)
    attention(left)
    tree(figure.add_axes((0.55, 0.54, 0.44, 0.39)))
    figure.text(0.555, 0.455, "The prior is what a tag gets anyway", weight="bold", fontsize=10)
    figure.text(0.68, 0.405, "● without a README", color=ORANGE, fontsize=8.5)
    figure.text(0.84, 0.405, "● with tumblewick.md", color=TEAL, fontsize=8.5)
    prior(figure.add_axes((0.68, 0.1, 0.3, 0.28)), explained)
    return figure


def learning(explained: dict[str, Any]) -> Figure:
    """Draw the way from hidden state and zero-shot evidence to a confidence."""
    figure: Figure = plt.figure(figsize=(9.6, 4.6))
    flow = figure.add_axes((0.0, 0.03, 0.44, 0.87))
    figure.text(0.02, 0.93, "Two kinds of evidence, one sum", weight="bold", fontsize=10)
    bare(flow)
    box(flow, 2.1, 6.2, "margin\nmentions\nprior shift", BLUE, 2.6, 1.9)
    box(
        flow,
        2.1,
        2.7,
        "hidden state of\nthe last token before\nthe tag, at 7/8\nof the depth",
        ORANGE,
        3.6,
        2.4,
    )
    label(flow, 2.1, 7.6, "what the model says", fontsize=8.5, color=BLUE)
    label(flow, 2.1, 1.05, "what labels have taught", fontsize=8.5, color=ORANGE)
    box(flow, 7.3, 4.6, "logit", INK, 1.7, 1.0)
    arrow(flow, (3.5, 6.1), (6.4, 4.9), BLUE)
    arrow(flow, (4.0, 2.8), (6.4, 4.3), ORANGE)
    label(flow, 5.6, 6.1, "logistic\nregression", fontsize=8, color=MUTED)
    label(
        flow,
        5.9,
        2.75,
        "one row of\nthe head per tag,\ntimes its weight",
        fontsize=8,
        color=MUTED,
        ha="left",
    )
    arrow(flow, (8.2, 4.6), (9.6, 4.6), INK)
    flow.set_xlim(0, 10)
    flow.set_ylim(0.4, 8.4)
    tags = [tag for tag in explained["tags"] if tag["learned"] is not None]
    moved = sorted(tags[4:20], key=lambda tag: -abs(tag["learned"]))[:4]
    tags = [*tags[:4], *(tag for tag in tags[4:] if tag in moved)]
    curve = figure.add_axes((0.6, 0.5, 0.33, 0.38))
    shifts = figure.add_axes((0.6, 0.11, 0.33, 0.37), sharex=curve)
    figure.text(0.6, 0.93, "The tags of tumblewick.md", weight="bold", fontsize=10)
    threshold = explained["threshold"]
    edge = float(np.log(threshold / (1 - threshold)))
    span = [value for tag in tags for value in (tag["score"], tag["score"] - tag["learned"])]
    x = np.linspace(min(span) - 1, max(span) + 1, 300)
    curve.plot(x, 1 / (1 + np.exp(-x)), color=LIGHT, lw=5, zorder=1, solid_capstyle="round")
    for axes in (curve, shifts):
        axes.axvline(edge, color=MUTED, lw=1, ls=(0, (4, 3)), zorder=0)
    curve.set_ylabel("confidence")
    curve.tick_params(labelbottom=False)
    label(curve, edge - 0.15, 1.0, "threshold", ha="right", fontsize=8, color=MUTED)
    for place, tag in enumerate(reversed(tags)):
        before, after = tag["score"] - tag["learned"], tag["score"]
        colour = TEAL if tag["given"] else MUTED
        style = {"arrowstyle": "-|>", "color": ORANGE, "lw": 1.5, "shrinkA": 3, "shrinkB": 3}
        shifts.annotate("", (after, place), (before, place), arrowprops=style, zorder=2)
        shifts.scatter(before, place, color=BLUE, s=26, zorder=3)
        shifts.scatter(after, place, color=colour, s=40, zorder=4)
        curve.scatter(after, tag["confidence"], color=colour, s=40, zorder=4)
        side = {"transform": shifts.get_yaxis_transform(), "fontsize": 8.5, "color": colour}
        label(shifts, -0.03, place, tag["name"].strip(), ha="right", **side)
        label(shifts, 1.03, place, f"{tag['confidence']:.2f}", ha="left", **side)
    shifts.set_ylim(-0.7, len(tags) - 0.3)
    shifts.set_yticks([])
    shifts.spines["left"].set_visible(False)
    shifts.set_xlabel("logit")
    return figure


def bars(axes: Axes, rows: list[tuple[str, list[tuple[float, str, str]]]], unit: str) -> None:
    """Draw bars of several parts: length, colour and name of each."""
    longest = max(sum(length for length, _, _ in parts) for _, parts in rows)
    for place, (name, parts) in enumerate(reversed(rows)):
        start = 0.0
        for length, colour, text in parts:
            axes.barh(place, length, left=start, height=0.62, color=colour, alpha=0.8, lw=0)
            if length > longest / 9:
                label(
                    axes, start + length / 2, place, text, color=PAPER, fontsize=8.5, weight="bold"
                )
            start += length
        whole = f"{start:.1f}" if start < 30 and start % 1 else f"{start:.0f}"
        label(axes, start + longest / 60, place, f"{whole} {unit}", ha="left", fontsize=8.5)
        label(axes, -longest / 60, place, name, ha="right", fontsize=8.5)
    axes.set_xlim(0, longest * 1.13)
    axes.set_ylim(-0.6, len(rows) - 0.3)
    bare(axes)


def time() -> Figure:
    """Draw tokens of a README, and seconds of one command: figures of docs/benchmarks.md."""
    figure: Figure = plt.figure(figsize=(9.6, 4.4))
    tokens = figure.add_axes((0.22, 0.56, 0.76, 0.34))
    figure.text(
        0.02, 0.94, "Tokens that a README sends through the model", weight="bold", fontsize=10
    )
    bars(
        tokens,
        [
            (
                "two questions, all names",
                [(128, TEAL, "README"), (156, ORANGE, "questions and trees")],
            ),
            ("a brief head, best", [(128, TEAL, "README"), (35, ORANGE, "question")]),
            ("a brief head, fast", [(64, TEAL, "README"), (35, ORANGE, "question")]),
        ],
        "tokens",
    )
    seconds = figure.add_axes((0.22, 0.08, 0.76, 0.3))
    figure.text(
        0.02,
        0.42,
        "From the command to the reply, one README, two cores without bfloat16",
        weight="bold",
        fontsize=10,
    )
    bars(
        seconds,
        [
            ("default", [(7, MUTED, "imports"), (16.6, BLUE, "weights"), (7.4, TEAL, "README")]),
            ("--effort fast", [(7, MUTED, "imports"), (9.2, BLUE, "weights"), (0.8, TEAL, "")]),
        ],
        "s",
    )
    return figure


def main() -> None:
    """Draw all of them."""
    zero_shot, learned = (
        json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("zero-shot", "learned")
    )
    with mpl.rc_context(SETTINGS):
        save(reading(zero_shot), "reading.svg")
        save(learning(learned), "learning.svg")
        save(time(), "time.svg")


if __name__ == "__main__":
    main()
