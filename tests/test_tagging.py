"""The reply: what it may hold, and how it is written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.messages import refused
from tagger.errors import ReplyError
from tagger.tagging import GivenTag, Tagging
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_json('[{"id": 17, "name": "ai"}, {"id": "x", "name": "gui "}]')
AI = GivenTag(id=17, name="ai", confidence=0.98764)
GUI = GivenTag(id="x", name="gui ", confidence=0.5)


def reply(*tags: GivenTag, id_: str = "README.md", max_tags: int = 3) -> Tagging:
    return Tagging.checked(id_, tags, VOCABULARY, max_tags)


@pytest.mark.parametrize(
    ("tags_as", "scores", "tags"),
    [
        ("objects", False, '[{"id":17,"name":"ai"},{"id":"x","name":"gui "}]'),
        ("ids", False, '[17,"x"]'),
        ("names", False, '["ai","gui "]'),
        ("ids", True, '[{"id":17,"confidence":0.9876},{"id":"x","confidence":0.5}]'),
    ],
)
def test_a_reply_is_one_line_of_json(tags_as: str, scores: bool, tags: str) -> None:
    line = reply(AI, GUI).to_json(tags_as, scores=scores)  # type: ignore[arg-type]
    assert line == f'{{"id":"README.md","tags":{tags}}}'


@pytest.mark.parametrize(
    "tags",
    [
        (GivenTag(id=1, name="cli", confidence=1),),
        (GivenTag(id=17, name="AI", confidence=1),),
        (AI, AI),
    ],
)
def test_a_reply_outside_the_contract_is_refused(tags: tuple[GivenTag, ...]) -> None:
    with refused(ReplyError):
        reply(*tags)


def test_too_many_tags_are_refused() -> None:
    with refused(ReplyError):
        reply(AI, GUI, max_tags=1)


@given(st.text())
def test_any_id_survives_and_leaves_the_terminal_alone(id_: str) -> None:
    line = reply(AI, id_=id_).to_json()
    assert json.loads(line)["id"] == id_
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in line)
    line.encode("utf-8")


def test_direction_overrides_and_bytes_that_are_not_utf8_are_escaped() -> None:
    assert reply(id_="a\u202eb\udcff\u2028").to_json().startswith('{"id":"a\\u202eb\\udcff\\u2028"')
    assert reply(id_="a\u061cb\x9b").to_json().startswith('{"id":"a\\u061cb\\u009b"')
