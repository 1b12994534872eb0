"""The random slice: what is drawn when, and what it says of the suggestions."""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from support.reviews import VOCABULARY
from tagger.evaluation.measures import agresti_coull
from tagger.review.index import chance
from tagger.review.items import Filter, Item, Order
from tagger.review.review import Review

COUNT = 400
TAGS = list(VOCABULARY)


def write(folder: Path, count: int = COUNT) -> Path:
    """An output whose confidence falls from row to row; every tenth README has failed."""
    path = folder / "out.jsonl"
    with path.open("w") as file:
        for number in range(count):
            row: dict[str, object] = {"id": str(number)}
            if number % 10 == 9:
                row["error"] = {"type": "ReadmeError", "message": "is empty"}
            else:
                tag = {"id": TAGS[0].id, "name": TAGS[0].name}
                row["tags"] = [tag | {"confidence": round(1 - number / count, 4)}]
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    with Review(write(tmp_path), VOCABULARY) as review:
        yield review


def permutation(seed: int = 0) -> list[str]:
    tagged = [str(number) for number in range(COUNT) if number % 10 != 9]
    return sorted(tagged, key=lambda id_: chance(seed, id_))


def right(item: Item) -> bool:
    """Whether a simulated curator accepts the first tag: the surer it is, the more often."""
    confidence = item.suggestions[0].confidence if item.suggestions else None
    return random.Random(item.id).random() < (confidence or 0.0)


def go(
    review: Review,
    steps: int,
    order: Order = "uncertain",
    judge: Callable[[Item], bool] = right,
    text: str = "",
) -> list[Item]:
    """Review so many READMEs. Return them as they were decided."""
    done: list[Item] = []
    chosen = Filter(text=text)
    item = review.next(order, chosen)
    while item and len(done) < steps:
        tags = ["1"] if judge(item) else ["2"]
        done.append(review.decide(item.id, tags, item.revision))
        item = review.next(order, chosen, item.id)
    return done


@pytest.mark.parametrize("order", ["uncertain", "confident", "tag"])
def test_the_first_fifty_and_then_every_fifth_are_random(review: Review, order: Order) -> None:
    done = [item.id for item in go(review, 100, order)]
    drawn = done[:50] + done[54::5]
    assert done[:50] == permutation()[:50]
    reached = permutation()[: permutation().index(drawn[-1]) + 1]
    assert drawn == [id_ for id_ in reached if id_ in drawn], "in order"
    assert set(reached) <= set(done), "and those between were decided before"
    assert [review.item(id_).selected for id_ in drawn] == len(drawn) * ["random"]


def test_between_them_the_order_counts(review: Review) -> None:
    done = go(review, 100, "confident")
    ordered = [item.id for place, item in enumerate(done) if place >= 50 and place % 5 != 4]
    drawn = {item.id for item in done} - set(ordered)
    expected = [str(n) for n in range(COUNT) if n % 10 != 9 and str(n) not in drawn]
    # A README of the order that the slice took later on was the order's at that time.
    assert ordered == [id_ for id_ in expected if id_ in ordered]
    assert set(ordered) == set(expected[: len(ordered)])


def test_another_seed_draws_others(tmp_path: Path) -> None:
    with Review(write(tmp_path), VOCABULARY, seed=1) as review:
        assert [item.id for item in go(review, 10)] == permutation(1)[:10]
    with Review(tmp_path / "out.jsonl", VOCABULARY, seed=2) as review:
        assert go(review, 1)[0].id == permutation(1)[10], "the seed of a review stays"


def test_asking_changes_nothing(review: Review) -> None:
    go(review, 60)
    shown = review.next()
    assert shown
    ahead = review.next(after=shown.id)
    assert ahead
    assert review.next(after=shown.id) == ahead
    review.decide(shown.id, ["1"], shown.revision)
    later = review.next(after=shown.id)
    assert later
    assert later.id == ahead.id, "what was fetched in advance"


def test_passing_over_readmes_goes_on_and_comes_back(review: Review) -> None:
    seen: list[str] = []
    item = review.next()
    for _ in range(10):
        assert item
        seen.append(item.id)
        item = review.next(after=item.id)
    assert seen == permutation()[:10]
    first = review.next()
    assert first
    assert first.id == seen[0], "it is still open"


@pytest.mark.parametrize("order", ["failed", "suspicious"])
def test_who_looks_for_failures_sees_nothing_else(review: Review, order: Order) -> None:
    item = review.next(order)
    assert item is None or item.error
    assert (item is None) == (order == "suspicious")


def test_a_filter_draws_nothing(review: Review) -> None:
    done = go(review, 5, "confident", text="1")
    assert [item.id for item in done] == ["1", "10", "11", "12", "13"]


def test_what_was_decided_before_its_turn_belongs_to_the_slice(review: Review) -> None:
    fifth = review.item(permutation()[4])
    review.decide(fifth.id, ["1"], fifth.revision)
    assert review.statistics().sampled == 0
    done = [item.id for item in go(review, 6)]
    assert done == [id_ for id_ in permutation()[:7] if id_ != fifth.id]
    assert review.statistics().sampled == 7


def test_a_bulk_decision_is_looked_at_when_its_turn_comes(review: Review) -> None:
    review.bulk_accept(0.0)
    assert review.statistics().sampled == 0
    item = review.next()
    assert item
    assert (item.id, item.state, item.selected) == (permutation()[0], "reviewed", "bulk")
    review.decide(item.id, ["2"], item.revision)
    found = review.statistics()
    assert found.first
    assert (found.sampled, found.first.right) == (1, 0)


def test_the_slice_says_how_often_the_first_tag_is_right_with_an_interval(review: Review) -> None:
    done = go(review, 60)
    found = review.statistics()
    sampled = [item for place, item in enumerate(done) if place < 50 or place % 5 == 4]
    hits = sum(item.decided[0].label == "cli" for item in sampled)
    assert found.sampled == len(sampled) == 52
    assert found.first
    assert (found.first.right, found.first.of) == (hits, 52)
    assert (found.first.low, found.first.high) == agresti_coull(hits / 52, 52)
    assert found.given == found.first, "one tag each"
    assert sum(count for _, _, count in found.calibration) == 52


def test_readmes_that_were_skipped_are_counted(review: Review) -> None:
    item = review.next()
    assert item
    review.skip(item.id, item.revision)
    go(review, 3)
    found = review.statistics()
    assert (found.sampled, found.unanswered) == (3, 1)


def test_a_tags_own_rates(review: Review) -> None:
    go(review, 50)
    by_tag = {each.tag.label: each for each in review.statistics().tags}
    cli, game = by_tag["cli"], by_tag["game"]
    assert cli.suggested == 360
    assert cli.precision
    assert cli.precision == review.statistics().first
    assert (game.suggested, game.precision) == (0, None)
    assert game.recall
    assert (game.recall.right, game.recall.of) == (0, game.decided)


def rate(items: Iterable[Item]) -> float:
    hits = [right(item) for item in items]
    return sum(hits) / len(hits)


def test_uncertain_work_does_not_bias_the_rate(review: Review) -> None:
    """The share of all READMEs that was decided is far from random, the slice is not."""
    every = [review.item(id_) for id_ in permutation()]
    done = go(review, 250)
    found = review.statistics()
    assert found.first
    assert found.first.low < rate(every) < found.first.high
    assert abs(found.first.share - rate(every)) < abs(rate(done) - rate(every))
