"""Where tags go wrong, by hand."""

import math

import numpy as np
import pytest

from tagger.evaluation.breakdown import by_tag, by_threshold, misses
from tagger.evaluation.labels import Label
from tagger.evaluation.measures import Judged, judge, select
from tagger.selection import Selection
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["ai", "cli", "web ", "game"])
LABELS = [
    Label(id="right", readme="r", tags=("ai",), acceptable=("cli",)),
    Label(id="swapped", readme="r", tags=("ai",)),
    Label(id="sure and wrong", readme="r", tags=("game",)),
    Label(id="nothing fits", readme="r", tags=()),
    Label(id="left out", readme="r", tags=("cli",)),
]
CONFIDENCES = np.array(
    [
        [0.9, 0.6, 0.1, 0.1],
        [0.3, 0.1, 0.7, 0.1],
        [0.1, 0.1, 0.95, 0.2],
        [0.1, 0.1, 0.1, 0.1],
        [0.1, 0.4, 0.1, 0.1],
    ]
)
NAMES = [label.id for label in LABELS]


@pytest.fixture
def judged() -> Judged:
    given = select(CONFIDENCES, Selection(min_tags=0), 0.5)
    return judge(LABELS, VOCABULARY, CONFIDENCES, given)


def test_each_tag_has_its_row_the_commonest_first(judged: Judged) -> None:
    rows = {row.name: row for row in by_tag(judged, VOCABULARY)}
    assert list(rows) == ["ai", "cli", "game", "web"]
    assert (rows["ai"].support, rows["ai"].given) == (2, 1)
    assert (rows["ai"].precision, rows["ai"].recall) == (1, 0.5)
    assert (rows["cli"].precision, rows["cli"].recall) == (1, 0), "acceptable counts as right"
    assert (rows["web"].precision, rows["web"].recall) == (0, None)
    assert (rows["game"].precision, rows["game"].recall) == (None, 0)


def test_a_tag_is_confused_with_what_was_given_in_its_place(judged: Judged) -> None:
    rows = {row.name: row for row in by_tag(judged, VOCABULARY)}
    assert (rows["game"].confused, rows["game"].times) == ("web", 1)
    assert rows["web"].times == 1
    assert (rows["cli"].confused, rows["cli"].times) == ("", 0)


def test_tags_that_nobody_wants_or_gives_are_left_out() -> None:
    nothing = np.zeros((1, 4))
    assert by_tag(judge(LABELS[3:4], VOCABULARY, nothing, nothing > 0), VOCABULARY) == []


def test_precision_and_recall_go_with_the_threshold(judged: Judged) -> None:
    points = {point.threshold: point for point in by_threshold(judged, Selection(min_tags=0))}
    assert points[0.5].precision == pytest.approx(2 / 4)
    assert points[0.5].recall == pytest.approx(1 / 4)
    assert math.isnan(points[1.0].precision)
    assert points[1.0].recall == 0


def test_the_worst_miss_is_the_surest_wrong_one(judged: Judged) -> None:
    worst_first = misses(judged, LABELS, VOCABULARY, NAMES, most=10)
    assert [miss.id for miss in worst_first] == ["sure and wrong", "swapped", "left out"]
    worst = worst_first[0]
    assert worst.given == (("web", 0.95, False),)
    assert (worst.wanted, worst.ranked, worst.read) == (("game",), 2, "sure and wrong")
    assert len(misses(judged, LABELS, VOCABULARY, NAMES, most=1)) == 1
