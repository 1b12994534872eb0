"""The random slice: what is drawn when, and what it says of the suggestions."""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from support.reviews import VOCABULARY
from tagger.evaluation.measures import agresti_coull, interval_of_pairs
from tagger.readme.sources import Sources
from tagger.review.index import chance
from tagger.review.items import Filter, Item, Order
from tagger.review.review import Review
from tagger.vocabulary import Vocabulary

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


def pass_over(review: Review, item: Item | None, order: Order = "uncertain") -> Item:
    assert item
    found = review.pass_over(item.id, order)
    assert found
    return found


def answer(review: Review, item: Item, order: Order = "uncertain") -> Item:
    """Accept a README, and return the one that comes next."""
    review.decide(item.id, ["1"], item.revision)
    found = review.next(order, after=item.id)
    assert found
    return found


def test_what_is_passed_over_is_drawn_again_before_anything_new(review: Review) -> None:
    first = review.next()
    second = pass_over(review, first)
    assert [first and first.id, second.id] == permutation()[:2]
    again = answer(review, second)
    assert again.id == permutation()[0]
    third = answer(review, again)
    assert third.id == permutation()[2]


def test_the_slice_goes_on_past_one_readme_without_an_answer_at_most(review: Review) -> None:
    """Who passes over whatever is hard, by walking on, is led back there."""
    shown = [review.next()]
    while len(shown) < COUNT:
        shown.append(pass_over(review, shown[-1]))
    ids = [item.id for item in shown if item]
    assert ids[:2] == permutation()[:2]
    assert ids[2:] == sorted(set(map(str, range(COUNT))) - set(ids[:2]), key=worst_first)
    assert pass_over(review, shown[-1]).id == ids[2], "it begins again"
    found = review.statistics()
    assert (found.sampled, found.passed_over) == (0, 2)
    assert shown[-1]
    assert answer(review, shown[-1]).id == permutation()[0]
    assert review.statistics().sampled == 0, "which is not of the slice"


def worst_first(id_: str) -> tuple[bool, int]:
    return id_.endswith("9"), int(id_) if id_.endswith("9") else -int(id_)


def test_the_random_order_goes_on_past_what_is_passed_over(review: Review) -> None:
    shown = [review.next("random")]
    for _ in range(9):
        shown.append(pass_over(review, shown[-1], "random"))
    assert [item and item.id for item in shown] == permutation()[:10]
    assert review.statistics().passed_over == 2
    assert shown[-1]
    assert answer(review, shown[-1], "random").id == permutation()[0]


def test_passing_over_what_is_hard_does_not_raise_the_rate(review: Review) -> None:
    """All that is easy is right, all that is hard wrong; whoever can passes over the hard."""
    item, passed = review.next(), set[str]()
    for _ in range(200):
        assert item
        if not right(item) and item.id not in passed:
            passed.add(item.id)
            item = review.pass_over(item.id)
            continue
        review.decide(item.id, ["1"] if right(item) else ["2"], item.revision)
        item = review.next(after=item.id)
    found = review.statistics()
    assert found.first
    every = [review.item(id_) for id_ in permutation()]
    reached = every[: found.sampled + found.passed_over]
    assert found.passed_over <= 2
    assert abs(found.first.share - rate(reached)) <= found.passed_over / found.sampled


def test_what_is_passed_over_is_known_after_a_restart(tmp_path: Path, review: Review) -> None:
    pass_over(review, review.next())
    review.close()
    with Review(tmp_path / "out.jsonl", VOCABULARY) as later:
        assert later.statistics().passed_over == 1


def test_the_readme_that_is_shown_or_comes_next_is_not_passed_over(review: Review) -> None:
    first = review.next()
    assert first
    review.next(after=first.id)
    assert review.statistics().passed_over == 0
    answer(review, first)
    assert review.statistics().passed_over == 0


def test_a_decision_that_is_taken_back_is_missing_from_the_slice(review: Review) -> None:
    go(review, 3)
    review.undo()
    found = review.statistics()
    assert (found.sampled, found.passed_over) == (2, 1)


def test_only_readmes_of_the_slice_are_called_random(tmp_path: Path, review: Review) -> None:
    go(review, 60)
    for number in range(9, COUNT, 10):
        failed = review.item(str(number))
        assert failed.selected == "ordered", "it has no tags that could be judged"
        review.decide(failed.id, ["1"], failed.revision)
    source = tmp_path / "readmes.jsonl"
    texts = ({"id": str(number), "readme": "words"} for number in range(COUNT))
    source.write_text("".join(json.dumps(text) + "\n" for text in texts))
    review.close()
    sources = Sources((str(source),))
    with Review(tmp_path / "out.jsonl", VOCABULARY, sources=sources) as later:
        later.export(tmp_path / "labels.jsonl")
    rows = map(json.loads, (tmp_path / "labels.jsonl").read_text().splitlines())
    random_ = [row["id"] for row in rows if row.get("selection", "random") == "random"]
    assert len(random_) == 52
    assert not [id_ for id_ in random_ if id_.endswith("9")]


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
    assert found.given
    assert (found.given.right, found.given.of) == (hits, 52), "one tag each"
    assert sum(count for _, _, count in found.calibration) == 52


def test_readmes_that_were_skipped_are_counted(review: Review) -> None:
    item = review.next()
    assert item
    review.skip(item.id, item.revision)
    go(review, 3)
    found = review.statistics()
    assert (found.sampled, found.skipped, found.passed_over) == (3, 1, 0)


def test_tags_of_one_readme_go_together(tmp_path: Path) -> None:
    """Ten READMEs of three tags each, all right or all wrong, tell as much as ten tags."""
    tags = [{"id": tag.id, "name": tag.name, "confidence": 0.5} for tag in TAGS[:3]]
    rows = [{"id": str(number), "tags": tags} for number in range(10)]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Review(tmp_path / "out.jsonl", VOCABULARY) as review:
        for _ in range(10):
            item = review.next()
            assert item
            decided = ["1", "2", "3"] if int(item.id) < 5 else []
            review.decide(item.id, decided, item.revision)
        found = review.statistics()
    assert found.first
    assert found.given
    assert (found.given.right, found.given.of) == (15, 30)
    limits = (found.given.low, found.given.high)
    expected = interval_of_pairs(np.array(5 * [3] + 5 * [0]), np.array(10 * [3]))
    assert limits == pytest.approx(expected, abs=0.02), "but for the order of the READMEs"
    independent = agresti_coull(0.5, 30)
    assert limits[0] < independent[0] < independent[1] < limits[1]
    assert limits[1] - limits[0] > 0.9 * (found.first.high - found.first.low)


def without(*labels: str) -> Vocabulary:
    return Vocabulary(tuple(tag for tag in VOCABULARY if tag.label not in labels))


def test_a_tag_that_was_dropped_is_neither_right_nor_wrong(tmp_path: Path) -> None:
    cli, game = ({"id": tag.id, "name": tag.name, "confidence": 0.9} for tag in TAGS[:2])
    kinds = {
        "both": ([cli, game], ["1", "2"]),
        "second": ([game, cli], ["2", "1"]),
        "only": ([cli], ["1"]),
        "lost": ([cli, game], ["1"]),
    }
    rows = [{"id": f"{kind} {n}", "tags": kinds[kind][0]} for kind in kinds for n in range(4)]
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Review(tmp_path / "out.jsonl", VOCABULARY) as review:
        while item := review.next():
            review.decide(item.id, kinds[item.id.split()[0]][1], item.revision)
        first = review.statistics().first
        assert first
        assert (first.right, first.of) == (16, 16)
    kept = Vocabulary(tuple(tag for tag in VOCABULARY if tag.label != "cli"))
    with Review(tmp_path / "out.jsonl", kept) as review:
        found = review.statistics()
        assert found.states == review.states() == {"open": 8, "reviewed": 8, "skipped": 0}
        assert found.first
        assert found.given
        assert (found.first.right, found.first.of) == (4, 4), "where the first tag is still there"
        assert (found.given.right, found.given.of) == (8, 8)
        assert (found.sampled, found.passed_over) == (8, 4), "those with nothing left are open"
        drawn = review.next()
        assert drawn
        assert drawn.id.startswith("lost"), "and drawn again"
        assert review.bulk_accept(0.5) == 4
        assert review.item(drawn.id).decided == (kept.tags[0],), "and not what is gone"


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
