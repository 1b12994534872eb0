"""Mentions of tags in a README."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagger.methods.rank.mentions import LEAD, Mentions
from tagger.vocabulary import Tag, Vocabulary


def counts(text: str, *tags: Tag | str) -> list[tuple[int, int]]:
    """How often each tag is mentioned, anywhere and in the lead."""
    vocabulary = Vocabulary(
        tuple(Tag(id=tag, name=tag) if isinstance(tag, str) else tag for tag in tags)
    )
    rows = Mentions(vocabulary).count(text).tolist()
    return [(round(math.expm1(all_)), round(math.expm1(lead))) for all_, lead in rows]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("cli", "A CLI, and another cli.", 2),
        ("cli", "A client is no match, nor is clic.", 0),
        ("game", "Games for everyone.", 1),
        ("ux", "Luxury UX", 1),
        ("game-engine ", "A game engine, two game-engines and a Game_Engine.", 3),
        ("http", "http-client over HTTP/2, and httpd apart", 2),
        ("css", "css is not a plural of cs", 1),
        ("c++", "C++ and c, c#", 1),
        ("node js", "node.js", 1),
        (".net", "The .NET runtime", 1),
        ("日本語", "日本語 です", 1),
        ("...", "...", 0),
    ],
)
def test_what_counts_as_a_mention(name: str, text: str, expected: int) -> None:
    assert counts(text, name) == [(expected, expected)]


def test_mentions_behind_the_lead_count_as_such() -> None:
    assert counts("cli " + "word " * LEAD + "cli", "cli") == [(2, 1)]


def test_aliases_are_mentions_too_and_may_be_shared() -> None:
    k8s = Tag(id=1, name="k8s", aliases=("Kubernetes", "kube"))
    other = Tag(id=2, name="cluster", aliases=("kube",))
    assert counts("Kubernetes, kube", k8s, other) == [(2, 2), (1, 1)]


@given(st.text(max_size=200))
def test_any_text_gives_finite_numbers(text: str) -> None:
    found = Mentions(Vocabulary.from_names(["cli", "game engine", "日本"])).count(text)
    assert found.shape == (3, 2)
    assert found.isfinite().all()
    assert (found[:, 0] >= found[:, 1]).all()


def test_many_long_names_take_little_longer_than_one() -> None:
    names = [" ".join(["a"] * length) for length in range(1, 101)]
    text = "a " * 10_000
    start = time.process_time()
    assert counts(text, names[-1])[0] == (9901, 250)
    one = time.process_time() - start
    found = counts(text, *names)
    assert time.process_time() - start - one < 10 * one
    assert found[0] == (10_000, 250)
    assert found[99] == (9901, 250)


def test_stuffing_is_found_about_as_fast_as_mentions_are() -> None:
    names = [" ".join(["a"] * length) for length in range(1, 101)]
    mentions = Mentions(Vocabulary.from_names(names))
    text = "a " * 3_000 + "c " * 6_000
    start = time.process_time()
    mentions.count(text)
    counting = time.process_time() - start
    assert not mentions.stuffed(text)
    assert time.process_time() - start - counting < 5 * counting


STUFFABLE = Mentions(Vocabulary.from_names(["maps", "game engine", "c", "cli"]))


@pytest.mark.parametrize(
    "text",
    [
        "Keywords: maps, maps, maps, maps",
        "#maps #mapsproject #bestmaps",
        "Map, mapping, mapped.",
        "game engine | free game engine | game-engine library",
        "c C c",
        "best maps app, free maps, open maps library",
    ],
)
def test_a_sentence_that_does_little_but_repeat_a_tag_is_stuffed(text: str) -> None:
    assert STUFFABLE.stuffed(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "maps, maps",
        "cli, maps, c, game engine",
        "C, cc and ccc",
        "Maps draws maps of maps that other people have drawn before.",
        "one one one",
    ],
)
def test_a_sentence_that_says_more_is_not_stuffed(text: str) -> None:
    assert not STUFFABLE.stuffed(text)


@given(st.text(max_size=200))
def test_any_text_is_stuffed_or_not(text: str) -> None:
    once = STUFFABLE.stuffed(text)
    assert not (once and STUFFABLE.count(text).sum() == 0)
