"""What every way of finding tags promises, and what its answers are kept under."""

import dataclasses
import json
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support import tiny
from support.fake_server import serving
from support.messages import refused
from tagger.errors import TaggerError, UsageError
from tagger.methods.base import (
    FeatureIdentity,
    Identity,
    Method,
    ranking_from_bytes,
    ranking_to_bytes,
)
from tagger.methods.endpoint.endpoint import Endpoint
from tagger.methods.rank import layout
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.rank import Rank
from tagger.methods.written.generate import Generate
from tagger.prompts.prompt import PromptTemplate, Question
from tagger.readme.readme import Readme
from tagger.selection import MAX_TAGS, Selection
from tagger.tagger import Tagger
from tagger.tagging import GivenTag, Ranking
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_json(
    json.dumps(
        [
            {"id": 7, "name": "http "},
            {"id": "seven", "name": "game-engine"},
            {"id": 0, "name": "cli"},
            {"id": -1, "name": "web server"},
        ]
    )
)
OTHER = Vocabulary(tuple(reversed(VOCABULARY.tags)))
README = Readme("voxel", "# Voxel\n\nA *game* engine for the terminal.")
FEATURES = FeatureIdentity("w", "p", "1", 768, "last")
IDENTITY = Identity(FEATURES, "rank", "here", "tags", "numbers", "a head")


def test_what_differs_is_named() -> None:
    other = Identity(
        FeatureIdentity("w", "p", "2", 512, "all"), "generate", "there", "tags", "others", "a head"
    )
    assert IDENTITY.differences(other) == [
        "README cleaning",
        "README tokens",
        "hidden states",
        "method",
        "machine, number format or library version",
        "calibration",
    ]
    assert IDENTITY.differences(IDENTITY) == []


def test_what_either_side_does_not_know_is_no_difference() -> None:
    known = Identity(FeatureIdentity("other weights"), method="rank")
    assert IDENTITY.differences(Identity()) == []
    assert Identity().differences(IDENTITY) == []
    assert IDENTITY.differences(known) == known.differences(IDENTITY) == ["model"]


def test_a_digest_tells_every_part() -> None:
    def others() -> Iterator[Identity]:
        for each in dataclasses.fields(FEATURES):
            changed: Any = {each.name: 1 if each.name == "readme_tokens" else "another"}
            yield dataclasses.replace(IDENTITY, features=dataclasses.replace(FEATURES, **changed))
        for each in dataclasses.fields(IDENTITY):
            if each.name != "features":
                changed = {each.name: "another"}
                yield dataclasses.replace(IDENTITY, **changed)

    digests = {other.digest for other in others()}
    assert len(digests) == 11
    assert IDENTITY.digest not in digests
    assert IDENTITY.digest == dataclasses.replace(IDENTITY).digest


@given(st.builds(Identity, st.builds(FeatureIdentity), method=st.text(), head=st.text()))
def test_an_identity_is_read_as_it_was_written(identity: Identity) -> None:
    assert Identity.from_json(identity.to_json()) == identity


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)


@given(st.text() | values.map(json.dumps))
@example("[" * 100_000)
@example('{"features": null}')
@example('{"features": {"sizes": 1}}')
def test_what_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (JSON has its own)
        Identity.from_json(text)


def given_tags(
    places: list[int], confidences: list[float | None], suspicious: bool = False
) -> Ranking:
    tags = [VOCABULARY.tags[place] for place in places]
    given = (
        GivenTag(id=tag.id, name=tag.name, confidence=confidence)
        for tag, confidence in zip(tags, confidences, strict=False)
    )
    return Ranking(tuple(given), suspicious)


rankings = st.builds(
    given_tags,
    st.permutations(range(4)),
    st.lists(st.none() | st.floats(0, 1), max_size=4),
    st.booleans(),
)


@given(rankings)
def test_a_ranking_is_read_as_it_was_written(ranking: Ranking) -> None:
    assert ranking_from_bytes(ranking_to_bytes(ranking, VOCABULARY), VOCABULARY) == ranking


def check_hostile(content: bytes, rank: Callable[[bytes], Ranking]) -> None:
    """Bytes are refused, or make a ranking that a README may have."""
    try:
        ranking = rank(content)
    except ValueError:
        return
    check_ranking(ranking)


def check_ranking(ranking: Ranking) -> None:
    known = {(tag.id, tag.name) for tag in VOCABULARY}
    tags = ranking.tags
    assert {(tag.id, tag.name) for tag in tags} <= known
    assert len({tag.id for tag in tags}) == len(tags) <= MAX_TAGS
    confidences = [tag.confidence for tag in tags if tag.confidence is not None]
    assert all(0 <= confidence <= 1 for confidence in confidences)


odd = st.one_of(values, st.integers(-5, 5), st.sampled_from([1e308, float("nan"), True, "0", "1"]))


@given(
    st.binary()
    | values.map(lambda value: json.dumps(value).encode())
    | st.lists(st.tuples(odd, odd) | odd).map(lambda value: json.dumps(value).encode())
)
@example(b"[" * 100_000)
@example(b"[[-1, null]]")
@example(b"[[0, null], [0, null]]")
@example(b"[[true, null]]")
@example(b'[[0, "0.5"]]')
@example(b"[[0, NaN]]")
@example(b"[[4, 0.5]]")
@example(b"[[0, 1.5]]")
@example(b'{"01": 1}')
def test_hostile_bytes_make_no_ranking_but_one_that_was_written(content: bytes) -> None:
    check_hostile(content, lambda reading: ranking_from_bytes(reading, VOCABULARY))
    try:
        ranking = ranking_from_bytes(content, VOCABULARY)
    except ValueError:
        return
    assert ranking_to_bytes(ranking, VOCABULARY) == content


# From here on every method.


TEMPLATE = PromptTemplate("You tag.", "Tags: {tags}\n{readme}", (Question("Which {max_tags}?"),))
TOKENS = 200


def scoring(vocabulary: Vocabulary, template: PromptTemplate, **options: Any) -> Rank:
    return Rank(tiny.model(), vocabulary, template, **options)


def searching(vocabulary: Vocabulary, template: PromptTemplate, **options: Any) -> Rank:
    """Rank as if the vocabulary were a large one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "AT_ONCE", 0)
        return Rank(tiny.model(), vocabulary, template, **options)


def generating(vocabulary: Vocabulary, template: PromptTemplate, **options: Any) -> Generate:
    return Generate(tiny.model(), vocabulary, template, **options)


Make = Callable[..., Method[Any]]


@pytest.fixture(params=["rank", "rank by search", "generate", "endpoint"])
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make a method, all of whose options have defaults."""
    makers: dict[str, Make] = {
        "rank": scoring,
        "rank by search": searching,
        "generate": generating,
    }

    def call(
        vocabulary: Vocabulary = VOCABULARY,
        template: PromptTemplate = TEMPLATE,
        readme_tokens: int = TOKENS,
        **options: Any,
    ) -> Method[Any]:
        return maker(vocabulary, template, readme_tokens=readme_tokens, **options)

    if request.param in makers:
        maker = makers[request.param]
        yield call
        return
    with serving() as server:
        maker = partial(Endpoint, server.url, "m")
        yield call


def reading_of(method: Method[Any], readme: Readme = README) -> bytes:
    (reading,) = method.read([method.encode(readme)])
    assert isinstance(reading, bytes)
    return reading


def test_a_ranking_holds_tags_of_the_vocabulary_the_best_first(make: Make) -> None:
    method = make()
    method.prepare()
    ranking = method.rank([reading_of(method)])[0]
    assert ranking.tags
    check_ranking(ranking)
    confidences = [tag.confidence for tag in ranking.tags]
    if method.threshold is None:
        assert set(confidences) == {None}
    else:
        assert confidences == sorted(confidences, key=lambda confidence: -(confidence or 0))
        assert None not in confidences


def test_readmes_of_one_call_are_read_as_alone(make: Make) -> None:
    method = make()
    readmes = [README, Readme("empty", "![](a.png)"), Readme("long", "A web server, too. " * 200)]
    together = method.read([method.encode(readme) for readme in readmes])
    assert len(together) == 3
    for readme, reading in zip(readmes, together, strict=True):
        assert not isinstance(reading, TaggerError)
        alone = method.rank([reading_of(method, readme)])[0]
        for one, other in zip(method.rank([reading])[0].tags, alone.tags, strict=True):
            assert (one.id, one.name) == (other.id, other.name)
            assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_a_reading_that_was_kept_ranks_without_a_model(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = make()
    reading = reading_of(method)
    expected = method.rank([reading])[0]
    other = make()
    assert other.reading_identity == method.reading_identity
    other.prepare()
    monkeypatch.setattr(other, "read", None)
    assert other.rank([reading])[0] == expected


def test_readings_are_ranked_together_to_the_last_bit_as_alone(make: Make) -> None:
    method = make()
    readmes = [Readme(str(n), f"{'A web server. ' * n} number {n}") for n in range(1, 20)]
    readings = [reading_of(method, readme) for readme in readmes]
    alone = [method.rank([reading])[0] for reading in readings]
    for count in (0, 1, 2, 7, 19):
        assert method.rank(readings[:count]) == alone[:count]


def test_bytes_that_are_no_reading_are_refused(make: Make) -> None:
    method = make()
    reading = reading_of(method)
    for content in (b"", b"{}", b"[]x", b"\xff" * len(reading), reading[:-1], reading + b"\0" * 4):
        with pytest.raises(ValueError):  # noqa: PT011 (whatever says so)
            method.rank([content])
    draw = random.Random(0)
    for _ in range(300):
        damaged = bytearray(reading)
        for place in draw.sample(range(len(reading)), k=draw.choice((1, 1, len(reading) // 2))):
            damaged[place] = draw.randrange(256)
        check_hostile(bytes(damaged), lambda content: method.rank([content])[0])


def test_what_is_said_to_the_model_holds_the_readme_and_the_tags(make: Make) -> None:
    readme = Readme("x", "# Voxel\n\nA *game* engine. <|im_end|> \x1b[31m")
    conversations = make().conversations(readme)
    assert conversations
    for said in conversations:
        assert "You tag." in said.text
        assert "A game engine." in said.text
        assert all(tag.label in said.text for tag in VOCABULARY)
        assert all(char.isprintable() or char == "\n" for char in said.text)
        assert not said.tokens or len(said.tokens) == 3


def test_a_readme_without_a_word_has_something_to_read(make: Make) -> None:
    method = make()
    assert method.encode(Readme("x", "![](a.png)")).length >= 1
    assert method.encode(Readme("x", "word " * 5000)).length <= TOKENS


def test_an_identity_names_whatever_was_changed(make: Make) -> None:
    method = make()
    assert make().identity == method.identity
    assert make().identity.digest == method.identity.digest
    for options, name in (
        ({"vocabulary": OTHER}, "vocabulary"),
        ({"template": PromptTemplate("You tag well.", TEMPLATE.user)}, "prompt"),
        ({"readme_tokens": TOKENS - 1}, "README tokens"),
    ):
        other = make(**options)
        assert method.identity.differences(other.identity) == [name]
        assert method.reading_identity.differences(other.reading_identity) == [name]


def test_an_identity_is_known_before_anything_is_read(make: Make) -> None:
    method = make()
    before = method.identity, method.reading_identity
    reading_of(method)
    assert (method.identity, method.reading_identity) == before
    assert method.identity.differences(method.reading_identity) == []


def test_a_pass_has_room_for_a_readme(make: Make) -> None:
    capacity = make().capacity
    assert capacity.tokens is None, "on a processor tokens are not the limit"
    assert capacity.readmes >= 1


def test_a_method_may_be_stopped_at_any_time(make: Make) -> None:
    method = make()
    method.stop()
    assert len(method.read([method.encode(README)])) <= 1


def test_a_tagger_gives_the_best_tags_of_any_method(make: Make) -> None:
    method = make()
    tagger = Tagger(method, Selection(max_tags=2, min_tags=2))
    assert tagger.vocabulary is VOCABULARY
    (tagging,) = tagger.tag([README])
    assert tagging.id == README.id
    assert tagging.tags == method.rank([reading_of(method)])[0].tags[:2]


def test_only_confidences_are_held_against_a_threshold(make: Make) -> None:
    method = make()
    assert Tagger(method).threshold == method.threshold
    strict = Selection(min_tags=0, threshold=1.0)
    if method.threshold is None:
        with refused(UsageError):
            Tagger(method, strict)
        return
    (tagging,) = Tagger(method, strict).tag([README])
    assert tagging.tags == ()


def test_a_written_reply_depends_on_how_many_tags_it_holds() -> None:
    few, many = (
        generating(VOCABULARY, TEMPLATE, selection=Selection(max_tags=most)) for most in (1, 3)
    )
    free = generating(VOCABULARY, TEMPLATE, grammar=False)
    assert few.identity.differences(many.identity) == ["method"]
    assert free.identity.differences(many.identity) == ["method"]
    near, far = (Endpoint(f"http://{host}/v1", "m", VOCABULARY) for host in ("one", "two"))
    assert near.identity.differences(far.identity) == ["model"]


def test_a_calibration_changes_the_ranking_and_not_what_was_read() -> None:
    calibration = dataclasses.replace(Calibration.shipped("tiny"), prior_weight=0.0, margin=9.0)
    plain, other = (scoring(VOCABULARY, TEMPLATE, calibration=each) for each in (None, calibration))
    assert plain.identity.differences(other.identity) == ["calibration"]
    assert plain.reading_identity == other.reading_identity
    reading = reading_of(plain)
    assert other.rank([reading])[0] == other.rank([reading_of(other)])[0]
    assert other.rank([reading])[0] != plain.rank([reading])[0]


def test_what_is_searched_for_depends_on_the_calibration() -> None:
    calibration = dataclasses.replace(Calibration.shipped("tiny"), margin=9.0)
    plain, other = (
        searching(VOCABULARY, TEMPLATE, calibration=each) for each in (None, calibration)
    )
    assert plain.reading_identity.differences(other.reading_identity) == ["calibration"]
