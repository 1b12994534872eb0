"""Many READMEs on a tiny model: rows, order, doubles, failures, stops."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.hostile_inputs import KINDS
from support.messages import refused
from tagger.batch.ledger import Ledger, text_key
from tagger.batch.pipeline import Pipeline, Row, distinct
from tagger.errors import (
    EndpointError,
    InputError,
    LoadError,
    OutOfMemoryError,
    ReadmeError,
    UsageError,
)
from tagger.methods.base import Capacity
from tagger.methods.rank.rank import Encoded, Rank
from tagger.models.language import LanguageModel
from tagger.readme.readme import MAX_BYTES, Readme
from tagger.readme.sources import Item
from tagger.readme.worker import Worker
from tagger.tagger import Tagger
from tagger.tagging import Failure, Tagging
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["http", "http-client", "game", "cli"])


@pytest.fixture(scope="module")
def tagger(tiny_model: LanguageModel) -> Tagger[Encoded]:
    return Tagger(Rank(tiny_model, VOCABULARY))


@pytest.fixture
def ledger(tmp_path: Path, tagger: Tagger[Encoded]) -> Iterator[Ledger]:
    with Ledger(tmp_path / "state") as ledger:
        ledger.use(tagger.method.identity, tagger.method.reading_identity)
        yield ledger


def item(id_: str, text: str = "") -> Item:
    """A README; one without a text cannot be read."""

    def read() -> Readme:
        if not text:
            raise ReadmeError(f"{id_}: is empty")
        return Readme(id_, text)

    return Item(id_, f"line {id_}", read)


def texts(count: int) -> list[Item]:
    return [item(str(n), f"A web server, number {n}. " * (1 + n * 7 % 13)) for n in range(count)]


class Counting(Rank):
    """A method that counts its passes, and fails as it is told to.

    Args:
        model: the language model.
        tokens: how many a pass holds, as on a GPU; None takes one README a pass, as on a CPU.
        readmes: how many READMEs a pass holds where tokens are not the limit.
        fails: what it raises.
        most: how many tokens of READMEs a pass may hold for it not to fail.

    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        tokens: int | None = None,
        readmes: int = 1,
        fails: type[Exception] | None = None,
        most: int = 10**9,
    ) -> None:
        super().__init__(model, VOCABULARY)
        self._tokens = tokens
        self._readmes = readmes
        self._fails = fails
        self._most = most
        self.passes: list[int] = []

    @property
    def capacity(self) -> Capacity:
        return replace(super().capacity, tokens=self._tokens, readmes=self._readmes)

    def read(self, readmes: Sequence[Encoded]) -> list[bytes]:
        self.passes.append(len(readmes))
        if self._fails and sum(len(readme.tokens) for readme in readmes) > self._most:
            raise self._fails("too much")
        return super().read(readmes)


def pipeline(method: Rank, ledger: Ledger, *, batch_tokens: int | None = None) -> Pipeline[Encoded]:
    return Pipeline(Tagger(method), ledger, batch_tokens=batch_tokens)


class Alone(Counting):
    """Reads the READMEs of a pass one by one, so that nothing depends on which are together."""

    def read(self, readmes: Sequence[Encoded]) -> list[bytes]:
        return [content for readme in readmes for content in super(Alone, self).read([readme])]


def kept(ledger: Ledger, method: Rank) -> dict[str, bytes | None]:
    """What the ledger holds of each README."""
    ledger.use(method.identity, method.reading_identity)
    return {item.id: ledger.reading(text_key(item.read())) for item in texts(20)}


@pytest.mark.parametrize(("tokens", "readmes"), [(500, 1), (None, 4)])
def test_what_people_have_decided_does_not_enter_a_pass(
    tmp_path: Path, tiny_model: LanguageModel, tokens: int | None, readmes: int
) -> None:
    tags = {"0": (), "3": VOCABULARY.tags[:1], "4": (), "11": VOCABULARY.tags[1:3], "19": ()}
    with Ledger(tmp_path / "some") as some, Ledger(tmp_path / "every") as every:
        method = Alone(tiny_model, tokens=tokens, readmes=readmes)
        for ledger in (some, every):
            ledger.use(method.identity, method.reading_identity)
        decided = Pipeline(Tagger(method), some, decided=tags.get)
        found = {row.reply.id: row.reply for row in decided.rows(texts(20))}
        assert sum(method.passes) == 20 - len(tags)
        others = [item for item in texts(20) if item.id not in tags]
        plain = replies(pipeline(method, every).rows(others))
        assert [found[item.id] for item in others] == plain
        assert {
            id_ for id_, reply in found.items() if isinstance(reply, Tagging) and reply.source
        } == {*tags}
        assert kept(some, method) == kept(every, method)


def replies(rows: Iterable[Row]) -> list[Tagging | Failure]:
    return [row.reply for row in rows]


def test_a_row_for_every_readme_in_order_as_if_it_were_alone(
    tagger: Tagger[Encoded], ledger: Ledger
) -> None:
    items = texts(20)
    expected = list(tagger.tag(item.read() for item in items))
    assert replies(Pipeline(tagger, ledger).rows(items)) == expected


def without_weights(model: LanguageModel, error: Exception) -> LanguageModel:
    """The same model, whose weights cannot be read."""

    class Broken(LanguageModel):
        @property
        def network(self) -> Any:
            raise error

    broken = copy(model)
    broken.__class__ = Broken
    return broken


def test_what_was_read_is_ranked_without_the_weights(
    tiny_model: LanguageModel, ledger: Ledger
) -> None:
    expected = replies(pipeline(Rank(tiny_model, VOCABULARY), ledger).rows(texts(5)))
    ledger.forget_ids()
    model = without_weights(tiny_model, LoadError("gone"))
    work = Pipeline(Tagger(Rank(model, VOCABULARY)), ledger)
    assert replies(work.rows([*texts(5), item("odd")]))[:5] == expected


def test_a_model_that_cannot_be_loaded_ends_a_batch_when_it_is_needed(
    tiny_model: LanguageModel, ledger: Ledger
) -> None:
    list(pipeline(Rank(tiny_model, VOCABULARY), ledger).rows(texts(2)))
    ledger.forget_ids()
    model = without_weights(tiny_model, LoadError("gone"))
    rows = Pipeline(Tagger(Rank(model, VOCABULARY)), ledger).rows(texts(5))
    assert [next(rows).reply.id for _ in range(2)] == ["0", "1"]
    with refused(LoadError):
        next(rows)


def test_on_a_gpu_readmes_of_like_length_go_through_together(
    tiny_model: LanguageModel, tagger: Tagger[Encoded], ledger: Ledger
) -> None:
    counting = Counting(tiny_model, tokens=1000)
    rows = replies(pipeline(counting, ledger).rows(texts(20)))
    assert sum(counting.passes) == 20
    assert max(counting.passes) > 1
    for reply, alone in zip(rows, tagger.tag(item.read() for item in texts(20)), strict=True):
        assert isinstance(reply, Tagging)
        assert reply.id == alone.id
        confidences = {tag.name: tag.confidence for tag in alone.tags}
        assert {tag.name: tag.confidence for tag in reply.tags} == pytest.approx(
            confidences, abs=1e-4
        )


def test_fewer_tokens_than_a_gpu_holds_may_be_asked_for(
    tiny_model: LanguageModel, ledger: Ledger
) -> None:
    counting = Counting(tiny_model, tokens=100_000)
    list(pipeline(counting, ledger, batch_tokens=1).rows(texts(20)))
    assert counting.passes == 20 * [1]


def test_a_cpu_takes_one_readme_a_pass_whatever_is_asked_for(
    tiny_model: LanguageModel, ledger: Ledger
) -> None:
    counting = Counting(tiny_model)
    list(pipeline(counting, ledger, batch_tokens=100_000).rows(texts(5)))
    assert counting.passes == 5 * [1]


def test_a_method_without_a_limit_of_tokens_takes_as_many_readmes_as_it_says(
    tiny_model: LanguageModel, ledger: Ledger
) -> None:
    counting = Counting(tiny_model, readmes=8)
    rows = replies(pipeline(counting, ledger).rows(texts(20)))
    assert counting.passes == [8, 8, 4]
    assert [row.id for row in rows] == [str(n) for n in range(20)]


@pytest.mark.parametrize("tokens", [None, 1000])
def test_equal_texts_are_read_once(
    tiny_model: LanguageModel, ledger: Ledger, tokens: int | None
) -> None:
    counting = Counting(tiny_model, tokens=tokens)
    items = [item(str(n), "the same words") for n in range(50)] + [item("x", "others")]
    rows = list(pipeline(counting, ledger).rows(items))
    assert sum(counting.passes) == 2
    assert len(rows) == 51
    assert [bool(row.tokens) for row in rows] == [True] + 49 * [False] + [True]
    again = Counting(tiny_model)
    items = [item(f"other {n}", "the same words") for n in range(3)]
    assert replies(pipeline(again, ledger).rows(items))[0].id == "other 0"
    assert again.passes == []


def test_a_failure_is_a_row_among_the_others(tagger: Tagger[Encoded], ledger: Ledger) -> None:
    rows = replies(
        Pipeline(tagger, ledger).rows([item("a", "words"), item("b"), item("c", "words")])
    )
    assert [type(row) for row in rows] == [Tagging, Failure, Tagging]
    assert rows[1] == Failure(id="b", type="ReadmeError", message="b: is empty")
    assert rows[1].to_json() == '{"id":"b","error":{"type":"ReadmeError","message":"b: is empty"}}'


def test_an_error_that_nobody_foresaw_costs_one_row(
    tagger: Tagger[Encoded], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def words(readme: Readme) -> str:
        return str(1 / 0) if readme.text == "odd" else readme.text

    monkeypatch.setattr(Readme, "plain_text", property(words))
    rows = replies(Pipeline(tagger, ledger).rows([item("a", "odd"), item("b", "plain")]))
    assert isinstance(rows[0], Failure)
    assert rows[0].type == "ZeroDivisionError"
    assert isinstance(rows[1], Tagging)


def test_a_readme_made_to_be_slow_costs_one_row(
    tagger: Tagger[Encoded], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagger.readme.readme.worker", worker := Worker(cpu_seconds=0.1))
    slow = KINDS["emphasis: alternating marks"].text(MAX_BYTES)
    rows = replies(Pipeline(tagger, ledger).rows([item("a", slow), item("b", "plain")]))
    worker.stop()
    assert isinstance(rows[0], Failure)
    assert rows[0].type == "ReadmeError"
    assert "takes longer than 0.1 s" in rows[0].message
    assert isinstance(rows[1], Tagging)


def test_a_pass_that_does_not_fit_is_split_and_goes_on(
    tiny_model: LanguageModel, ledger: Ledger
) -> None:
    counting = Counting(tiny_model, tokens=100_000, fails=OutOfMemoryError, most=60)
    items = [item(str(n), f"words {n} " * (2 + n % 3)) for n in range(12)]
    rows = replies(pipeline(counting, ledger).rows(items))
    assert [row.id for row in rows] == [str(n) for n in range(12)]
    assert all(isinstance(row, Tagging) for row in rows)
    assert counting.passes[0] == 12


def test_after_a_lack_of_memory_later_passes_are_smaller(
    tiny_model: LanguageModel, ledger: Ledger
) -> None:
    counting = Counting(tiny_model, tokens=20_000, fails=OutOfMemoryError, most=2000)
    items = [item(str(n), f"words {n} " * 20) for n in range(600)]
    rows = replies(pipeline(counting, ledger).rows(items))
    assert all(isinstance(row, Tagging) for row in rows)
    assert max(counting.passes[-20:]) < max(counting.passes) / 4


@pytest.mark.parametrize("error", [OutOfMemoryError, LoadError])
def test_one_readme_that_cannot_be_read_does_not_take_its_neighbours_along(
    tiny_model: LanguageModel, ledger: Ledger, error: type[Exception]
) -> None:
    counting = Counting(tiny_model, tokens=100_000, fails=error, most=100)
    items = [item(str(n), "words " * (400 if n == 3 else 5 + n)) for n in range(6)]
    rows = replies(pipeline(counting, ledger).rows(items))
    assert [isinstance(row, Failure) for row in rows] == [n == 3 for n in range(6)]
    assert isinstance(rows[3], Failure)
    assert rows[3].type == error.__name__


@pytest.mark.parametrize("step", ["find", "encode", "read", "rank", "reply"])
@pytest.mark.parametrize("error", [ZeroDivisionError("odd"), RecursionError(), MemoryError("odd")])
def test_whatever_one_readme_makes_fail_is_its_row(
    tiny_model: LanguageModel,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: Exception,
) -> None:
    items = [item(str(n), f"the words of {n}") for n in range(4)]
    method = Counting(tiny_model)
    tagger = Tagger(method)
    bad = method.encode(items[2].read())
    (reading,) = method.read([bad])

    def failing(plain: Callable[..., Any], at: Callable[..., bool]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            if at(*args):
                raise error
            return plain(*args)

        return call

    def broken() -> Readme:
        raise error

    match step:
        case "find":
            items[2] = replace(items[2], read=broken)
        case "encode":
            encode = failing(method.encode, lambda readme: readme.id == "2")
            monkeypatch.setattr(method, "encode", encode)
        case "read":
            read = failing(method.read, lambda found: found[0].tokens == bad.tokens)
            monkeypatch.setattr(method, "read", read)
        case "rank":
            monkeypatch.setattr(method, "rank", failing(method.rank, lambda them: reading in them))
        case "reply":
            reply = failing(tagger.reply, lambda id_, _: id_ == "2")
            monkeypatch.setattr(tagger, "reply", reply)
    rows = replies(Pipeline(tagger, ledger).rows(items))
    assert [type(row) for row in rows] == [Tagging, Tagging, Failure, Tagging]
    assert isinstance(rows[2], Failure)
    assert rows[2].type == type(error).__name__
    assert rows[2].message.startswith(f"internal error: {rows[2].type}: ")


def test_one_that_cannot_be_read_is_found_among_those_of_its_pass(
    tiny_model: LanguageModel, ledger: Ledger
) -> None:
    counting = Counting(tiny_model, tokens=100_000, fails=RecursionError, most=100)
    items = [item(str(n), "words " * (400 if n == 3 else 5 + n)) for n in range(6)]
    rows = replies(pipeline(counting, ledger).rows(items))
    assert [isinstance(row, Failure) for row in rows] == [n == 3 for n in range(6)]


def test_a_server_that_answers_nobody_stops_the_batch(
    tiny_model: LanguageModel, ledger: Ledger
) -> None:
    counting = Counting(tiny_model, fails=EndpointError, most=0)
    with pytest.raises(EndpointError):
        list(pipeline(counting, ledger).rows(texts(2)))


def test_a_damaged_ledger_stops_the_batch_and_is_no_readmes_fault(
    tagger: Tagger[Encoded], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(text: bytes) -> bytes:
        raise UsageError("state is damaged: restart the batch to do all of it again")

    monkeypatch.setattr(ledger, "reading", damaged)
    with refused(UsageError):
        list(Pipeline(tagger, ledger).rows(texts(2)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda right: b"",
        lambda right: b"{}",
        lambda right: right[:-1],
        lambda right: right[:-4],
        lambda right: right + right[-4:],
        lambda right: right[:-4] + b"\0\0\xc0\x7f",
    ],
    ids=["empty", "short", "cut", "a number less", "a number more", "not a number"],
)
def test_a_reading_of_wrong_bytes_is_damage_too(
    tiny_model: LanguageModel,
    ledger: Ledger,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[bytes], bytes],
) -> None:
    method = Rank(tiny_model, VOCABULARY)
    (right,) = method.read([method.encode(Readme("0", "A game."))])
    monkeypatch.setattr(ledger, "reading", lambda text: spoil(right))
    with refused(UsageError):
        list(pipeline(method, ledger).rows(texts(2)))


@pytest.mark.parametrize("first", ["README.md", "README.rst"])
def test_the_same_bytes_in_another_markup_are_another_readme(
    tiny_model: LanguageModel, tagger: Tagger[Encoded], ledger: Ledger, first: str
) -> None:
    text = "A game\n======\n\n.. image:: http.png\n   :alt: client\n\n::\n\n    cli\n"
    names = [first, *({"README.md", "README.rst", "README.adoc"} - {first})]
    readmes = [Readme(name, text, source=name) for name in names]
    assert len({readme.markup for readme in readmes}) == 3
    items = [Item(each.id, each.source, lambda each=each: each) for each in readmes]  # type: ignore[misc]
    counting = Counting(tiny_model)
    assert replies(pipeline(counting, ledger).rows(items)) == list(tagger.tag(readmes))
    assert len(counting.passes) == 3


def test_what_a_source_raises_comes_after_the_rows_before_it(
    tagger: Tagger[Encoded], ledger: Ledger
) -> None:
    def breaking() -> Iterator[Item]:
        yield item("a", "words")
        raise InputError("the dump breaks off")

    rows = Pipeline(tagger, ledger).rows(breaking())
    assert next(rows).reply.id == "a"
    with refused(InputError):
        next(rows)


@pytest.mark.parametrize("tokens", [None, 300])
def test_a_stop_finishes_what_is_in_hand(
    tiny_model: LanguageModel, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, tokens: int | None
) -> None:
    """The third pass is the one that is interrupted; what it read is kept."""
    counting = Counting(tiny_model, tokens=tokens)
    work = pipeline(counting, ledger)
    plain = counting.read

    def interrupted(readmes: Sequence[Encoded]) -> list[bytes]:
        if len(counting.passes) == 2:
            work.stop()
        return plain(readmes)

    monkeypatch.setattr(counting, "read", interrupted)
    items = [item(str(n), "z " * (1 + n)) for n in range(100)]
    seen = [row.reply.id for row in work.rows(items)]
    assert len(counting.passes) == 3
    assert seen == [str(n) for n in range(sum(counting.passes))]


def test_a_stop_does_not_wait_for_a_source_that_waits(
    tagger: Tagger[Encoded], ledger: Ledger
) -> None:
    released = threading.Event()

    def waiting() -> Iterator[Item]:
        yield item("a", "words")
        released.wait(30)

    work = Pipeline(tagger, ledger)
    rows = work.rows(waiting())
    next(rows)
    threading.Timer(0.2, work.stop).start()
    start = time.monotonic()
    assert list(rows) == []
    assert time.monotonic() - start < 5
    released.set()


def test_reading_runs_ahead_but_not_without_bound(tagger: Tagger[Encoded], ledger: Ledger) -> None:
    taken = []

    def source() -> Iterator[Item]:
        for each in texts(1000):
            taken.append(each.id)
            yield each

    rows = Pipeline(tagger, ledger).rows(source())
    next(rows)
    time.sleep(0.5)
    assert 10 < len(taken) < 800
    rows.close()  # type: ignore[attr-defined]


def test_ids_that_come_twice_stop_the_batch_and_both_places_are_named(ledger: Ledger) -> None:
    with refused(InputError):
        list(distinct([item("a"), item("b"), item("a")], ledger, "error"))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("keep-first", ["a", "b", "a-2"]),
        ("suffix", ["a", "b", "a-2", "a-2-2", "a-3", "b-2"]),
    ],
)
def test_ids_that_come_twice_may_be_left_out_or_numbered(
    ledger: Ledger, policy: str, expected: list[str]
) -> None:
    found = [item(id_) for id_ in ("a", "b", "a", "a-2", "a", "b")]
    assert [each.id for each in distinct(found, ledger, policy)] == expected  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["a", "a-2", "a-2-2", "a-3", "b"]), max_size=12))
def test_numbered_ids_never_collide(found: list[str]) -> None:
    with Ledger(None) as ledger:
        given_ids = [each.id for each in distinct(map(item, found), ledger, "suffix")]
    assert len(given_ids) == len(set(given_ids)) == len(found)
