"""A review of an output written by hand, without a model: orders, decisions, undo, bulk."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from support.messages import refused
from support.reviews import VOCABULARY, again, opened, write
from tagger.errors import InputError, UsageError
from tagger.evaluation.labels import load_labels
from tagger.readme.sources import Sources
from tagger.review.items import Filter, Item, Order
from tagger.review.review import Review, StaleError
from tagger.vocabulary import Tag, Vocabulary

EVERY = Filter(state=None)


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    with opened(tmp_path) as review:
        yield review


def ids(review: Review, order: Order, chosen: Filter = EVERY) -> list[str]:
    """All READMEs of an order, by asking for the next one until it begins again."""
    found: list[str] = []
    item = review.next(order, chosen)
    while item and item.id not in found:
        found.append(item.id)
        item = review.next(order, chosen, item.id)
    return found


def accept(review: Review, id_: str) -> Item:
    item = review.item(id_)
    given = [str(each.tag.id) for each in item.suggestions if each.given]
    return review.decide(id_, given, item.revision)


def names(item: Item) -> list[str]:
    return [tag.label for tag in item.decided]


def test_an_item_has_what_the_output_says(review: Review) -> None:
    item = review.item("readme-4")
    assert [(each.tag.label, each.confidence, each.given) for each in item.suggestions] == [
        ("database", 0.663, True),
        ("cli", pytest.approx(0.563), True),
    ]
    assert (item.state, item.decided, item.error) == ("open", (), "")
    assert review.item("readme-5").error == "takes too long to clean"
    readme = review.readme("readme-4")
    assert readme
    assert readme.text.startswith("# readme-4\n")


def test_orders_of_work(review: Review) -> None:
    tagged = [f"readme-{n}" for n in range(12) if n % 6 < 5]
    failed = ["readme-5", "readme-11"]
    assert ids(review, "uncertain") == tagged + failed, "confidence rises with the number"
    assert ids(review, "confident") == tagged[::-1] + failed
    assert ids(review, "failed") == failed
    assert ids(review, "suspicious") == []
    by_tag = [review.item(id_).suggestions[0].tag.label for id_ in ids(review, "tag")[:10]]
    assert by_tag == sorted(by_tag, key=[tag.label for tag in VOCABULARY].index)
    assert sorted(ids(review, "random")) == sorted(tagged)


def test_filters_by_tag_state_and_text(review: Review) -> None:
    accept(review, "readme-1")
    assert ids(review, "uncertain", Filter(tag="db", state=None)) == [
        "readme-4",
        "readme-8",
        "readme-9",
    ]
    assert ids(review, "uncertain", Filter(state="reviewed")) == ["readme-1"]
    assert ids(review, "uncertain", Filter(text="README-1", state=None)) == [
        "readme-1",
        "readme-10",
        "readme-11",
    ]
    assert ids(review, "uncertain", Filter(text="does **readme-3**")) == ["readme-3"]
    with refused(InputError):
        review.next("uncertain", Filter(tag="nothing"))


def test_a_position_counts_what_the_filter_lets_through(review: Review) -> None:
    accept(review, "readme-0")
    item = review.item("readme-2", "uncertain", Filter())
    assert (item.position, item.total) == (2, 11)
    assert review.item("readme-0", "uncertain", Filter()).position == 0


def test_previous_is_the_one_before_in_the_order(review: Review) -> None:
    before = review.previous("uncertain", EVERY, "readme-3")
    assert before
    assert before.id == "readme-2"
    assert review.previous("uncertain", EVERY, "readme-0") is None


def test_a_decision_outlives_the_process(tmp_path: Path, review: Review) -> None:
    item = review.decide("readme-3", ["4", "1"], 0)
    assert (item.state, names(item), item.revision) == ("reviewed", ["web", "cli"], 1)
    review.skip("readme-6", 0)
    review.decide("readme-7", [], 0)
    review.close()
    with again(tmp_path) as later:
        assert names(later.item("readme-3")) == ["web", "cli"]
        assert later.item("readme-6").state == "skipped"
        assert later.item("readme-7").state == "reviewed", "no tag fits"
        assert later.states() == {"open": 9, "reviewed": 2, "skipped": 1}


def test_a_decision_on_what_was_decided_elsewhere_is_refused(review: Review) -> None:
    seen = review.item("readme-3")
    review.decide("readme-3", ["4"], seen.revision)
    with refused(StaleError) as caught:
        review.decide("readme-3", ["1"], seen.revision)
    assert isinstance(caught.value, StaleError)
    assert names(caught.value.item) == ["web"]
    review.undo()
    with refused(StaleError):
        review.decide("readme-3", ["1"], seen.revision)


def test_unknown_readmes_and_tags_are_refused(review: Review) -> None:
    with refused(InputError):
        review.item("nothing")
    with refused(InputError):
        review.decide("readme-3", ["nothing"], 0)
    assert review.item("readme-3").state == "open"


def test_undo_goes_back_step_by_step_also_later(tmp_path: Path, review: Review) -> None:
    review.decide("readme-3", ["4"], 0)
    review.decide("readme-3", ["1"], 1)
    review.skip("readme-2", 0)
    review.close()
    with again(tmp_path) as later:
        undone = [later.undo() for _ in range(4)]
        assert [item and (item.id, item.state, names(item)) for item in undone] == [
            ("readme-2", "open", []),
            ("readme-3", "reviewed", ["web"]),
            ("readme-3", "open", []),
            None,
        ]
        later.decide("readme-2", ["1"], later.item("readme-2").revision)
        assert later.undo()


def test_all_replies_that_are_sure_enough_are_accepted_at_once(review: Review) -> None:
    accept(review, "readme-9")
    sure = Filter()
    assert review.bulk_count(0.8, "confident", sure) == review.bulk_accept(0.8, filter=sure) == 1
    item = review.item("readme-10")
    assert (names(item), item.selected) == (["cli"], "bulk")
    assert review.item("readme-8").state == "open", "its second tag is less sure"
    assert review.statistics().bulk == 1
    undone = review.undo()
    assert undone
    assert (undone.id, undone.state) == ("readme-10", "open")
    assert review.item("readme-9").state == "reviewed"


def test_a_tag_is_replaced_wherever_it_was_decided_or_is_suggested(review: Review) -> None:
    review.decide("readme-4", ["db", "4"], 0)
    review.decide("readme-1", ["4", "db"], 0)
    review.skip("readme-9", 0)
    assert review.replace_count("db", filter=EVERY) == 3
    assert review.replace_count("db") == 1, "of the open ones"
    assert review.bulk_replace("db", "4", filter=EVERY) == 3
    assert names(review.item("readme-4")) == ["web"], "each once"
    assert names(review.item("readme-1")) == ["web"]
    assert names(review.item("readme-8")) == ["web"]
    assert review.item("readme-8").selected == "bulk"
    assert review.item("readme-4").selected != "bulk", "somebody has looked at it"
    review.undo()
    assert names(review.item("readme-1")) == ["web", "database"]
    assert review.item("readme-8").state == "open"


def content(review: Review) -> dict[str, tuple[object, ...]]:
    items = (review.item(f"readme-{n}") for n in range(12))
    return {item.id: (item.state, names(item), item.selected) for item in items}


@pytest.mark.parametrize(
    ("order", "chosen", "count"),
    [
        ("uncertain", Filter(), 10),
        ("uncertain", EVERY, 10),
        ("random", Filter(), 10),
        ("failed", Filter(), 0),
        ("suspicious", Filter(), 0),
        ("tag", Filter(tag="4"), 2),
        ("tag", Filter(text="readme-1"), 2),
        ("confident", Filter(tag="4", text="readme-8"), 1),
        ("uncertain", Filter(state="reviewed"), 0),
        ("uncertain", Filter(state="skipped"), 0),
    ],
)
def test_bulk_decisions_are_about_what_the_order_and_filter_show(
    review: Review, order: Order, chosen: Filter, count: int
) -> None:
    before = content(review)
    assert review.bulk_count(0.0, order, chosen) == count
    assert review.bulk_accept(0.0, order, chosen) == count
    shown = set(ids(review, order, replace(chosen, state=None)))
    changed_ = {id_ for id_, what in content(review).items() if what != before[id_]}
    assert len(changed_) == count
    assert changed_ <= shown
    if count:
        review.undo()
    assert content(review) == before


def test_a_tag_is_replaced_only_among_what_is_shown(review: Review) -> None:
    review.decide("readme-4", ["db", "4"], 0)
    assert review.replace_count("db", "uncertain", Filter(tag="4", state=None)) == 2
    assert review.replace_count("db", "failed", EVERY) == 0
    assert review.replace_count("db", "tag", Filter(text="readme-9")) == 1
    before = content(review)
    assert review.bulk_replace("db", "1", "uncertain", Filter(tag="4", state=None)) == 2
    assert names(review.item("readme-4")) == ["cli", "web"]
    assert review.item("readme-9").state == "open", "which has another tag"
    review.undo()
    assert content(review) == before


def test_bulk_decisions_give_no_tag_that_has_left_the_list(tmp_path: Path, review: Review) -> None:
    review.close()
    before = content_of(tmp_path)
    with again(tmp_path, changed(database=None)) as later:
        assert later.bulk_count(0.95) == 0
        assert later.bulk_count(0.0) == later.bulk_accept(0.0) == 9, "all but what had it alone"
        assert names(later.item("readme-4")) == ["cli"]
        assert later.item("readme-9").state == "open"
        assert later.undo()
        assert later.bulk_replace("1", "2") == 3
        later.undo()
    assert content_of(tmp_path) == before


def content_of(folder: Path) -> dict[str, tuple[object, ...]]:
    with again(folder) as review:
        return content(review)


def test_a_text_is_found_whatever_its_case(tmp_path: Path) -> None:
    row = {"id": "Étude", "tags": [{"id": 1, "name": "cli", "confidence": 0.5}]}
    (tmp_path / "out.jsonl").write_text(json.dumps(row) + "\n")
    with again(tmp_path) as review:
        for text in ("étude", "ÉTUDE"):
            found = review.next("uncertain", Filter(text=text))
            assert found, text


def test_what_was_decided_becomes_label_rows(tmp_path: Path, review: Review) -> None:
    review.decide("readme-4", ["1"], 0)
    review.decide("readme-7", [], 0)
    review.skip("readme-8", 0)
    review.bulk_accept(0.9)
    assert review.export(tmp_path / "labels.jsonl") == 3
    found = {label.id: label for label in load_labels(tmp_path / "labels.jsonl", VOCABULARY)}
    assert found["readme-4"].tags == ("cli",)
    assert found["readme-4"].rejected == ("database",)
    assert found["readme-7"].tags == ()
    assert found["readme-10"].selection == "bulk"
    assert {label.source for label in found.values()} == {"human"}
    assert review.export(tmp_path / "labels.jsonl") == 3, "its own file may be replaced"
    (tmp_path / "other").write_text("precious")
    with refused(UsageError):
        review.export(tmp_path / "other")


def test_many_threads_lose_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, 120) as review:

        def work(mine: list[str]) -> None:
            for id_ in mine:
                accept(review, id_)
                review.next()
                review.states()

        every = [f"readme-{n}" for n in range(120)]
        threads = [threading.Thread(target=work, args=(every[n::4],)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with again(tmp_path) as later:
        assert later.states() == {"open": 0, "reviewed": 120, "skipped": 0}


_SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from support.reviews import VOCABULARY
from tagger.review.review import Review
with Review(Path(sys.argv[1]), VOCABULARY) as review:
    while item := review.next():
        review.decide(item.id, ["1"], item.revision)
        print(item.id, flush=True)
"""


def test_a_process_that_is_killed_loses_no_decision(tmp_path: Path) -> None:
    output = write(tmp_path, 3000)
    with again(tmp_path):
        pass
    said: list[str] = []
    draw = random.Random(0)
    for _ in range(3):
        worker = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, str(output)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            text=True,
        )
        assert worker.stdout
        said += [worker.stdout.readline().strip() for _ in range(draw.randint(1, 40))]
        worker.send_signal(signal.SIGKILL)
        said += worker.stdout.read().split("\n")[:-1]
        worker.wait()
        worker.stdout.close()
    with again(tmp_path) as later:
        assert all(names(later.item(id_)) == ["cli"] for id_ in said)
        assert later.states()["reviewed"] - len(said) in range(4), "one that was not said, at most"


# What becomes of a review when other things change.


def rewrite(folder: Path, change: dict[str, object]) -> None:
    """Change rows of the output, by their ids."""
    path = folder / "out.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    changed = [change.get(row["id"], row) for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in changed if row))


def test_an_output_that_was_written_again_keeps_what_was_decided(
    tmp_path: Path, review: Review
) -> None:
    accept(review, "readme-3")
    review.close()
    others = {"id": 2, "name": "game", "confidence": 0.2}
    rewrite(
        tmp_path,
        {
            "readme-3": {"id": "readme-3", "tags": [others]},
            "readme-0": {"id": "readme-0", "tags": [others]},
            "readme-1": None,
        },
    )
    with again(tmp_path) as later:
        assert names(later.item("readme-3")) == ["web"]
        assert [each.tag.label for each in later.item("readme-3").suggestions] == ["web"]
        assert [each.tag.label for each in later.item("readme-0").suggestions] == ["game"]
        assert "readme-1" not in ids(later, "uncertain")


def test_a_store_of_another_output_is_refused(tmp_path: Path, review: Review) -> None:
    accept(review, "readme-3")
    review.close()
    row = {"id": "other", "tags": []}
    rewrite(tmp_path, {f"readme-{n}": None for n in range(11)} | {"readme-11": row})
    with refused(UsageError):
        again(tmp_path)


def test_a_reviewed_readme_that_the_output_lacks_now_is_said(
    tmp_path: Path, review: Review, caplog: pytest.LogCaptureFixture
) -> None:
    accept(review, "readme-3")
    accept(review, "readme-4")
    review.close()
    rewrite(tmp_path, {"readme-3": None})
    with again(tmp_path) as later:
        assert "reviewed READMEs that are not in the output any more: 1 of 2" in caplog.text
        assert later.export(tmp_path / "labels.jsonl") == 2


def changed(**names_: str | None) -> Vocabulary:
    """The list with other names for some tags, or without them."""
    tags = [(tag, names_.get(tag.label, tag.name)) for tag in VOCABULARY]
    return Vocabulary(tuple(Tag(id=tag.id, name=name) for tag, name in tags if name))


def test_a_renamed_tag_is_said_and_followed(
    tmp_path: Path, review: Review, caplog: pytest.LogCaptureFixture
) -> None:
    accept(review, "readme-3")
    review.close()
    with again(tmp_path, changed(web="website")) as later:
        assert names(later.item("readme-3")) == ["website"]
        assert (
            "the list of tags now has 'website' for 'web', which was decided for 1 README "
            "(readme-3)" in caplog.text
        )
    with again(tmp_path, changed(web="www")) as later:
        assert names(later.item("readme-3")) == ["www"], "twice renamed"
    with again(tmp_path) as later:
        assert names(later.item("readme-3")) == ["web"]


def test_a_dropped_tag_is_said_and_not_forgotten(
    tmp_path: Path, review: Review, caplog: pytest.LogCaptureFixture
) -> None:
    accept(review, "readme-4")
    review.decide("readme-3", ["1"], 0)
    review.close()
    with again(tmp_path, changed(cli=None)) as later:
        assert names(later.item("readme-4")) == ["database"]
        assert later.item("readme-3").state == "open", "nothing is left of what was decided"
        assert (
            "the list of tags no longer has 'cli', which was decided for 2 READMEs "
            "(readme-3, readme-4): it is left out there" in caplog.text
        )
    with again(tmp_path) as later:
        assert names(later.item("readme-4")) == ["database", "cli"]
        assert names(later.item("readme-3")) == ["cli"]


def test_a_readme_that_is_gone_keeps_its_text(tmp_path: Path, review: Review) -> None:
    review.close()
    source = tmp_path / "readmes.jsonl"
    source.write_text(source.read_text().split("\n", 1)[1])
    with Review(
        tmp_path / "out.jsonl", VOCABULARY, sources=Sources((str(source),), id_field="id")
    ) as later:
        assert later.readme("readme-0")
