"""What a vocabulary may look like, and what is said when it does not."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import ROOT
from tagger.errors import VocabularyError
from tagger.vocabulary import (
    MAX_BYTES,
    MAX_NAME,
    Vocabulary,
    fold,
)


def test_tags_keep_their_order_ids_and_spelling() -> None:
    vocabulary = Vocabulary.from_json('[{"id": 8, "name": "gui "}, {"id": "x", "name": "CLI"}]')
    assert [(tag.id, tag.name, tag.label) for tag in vocabulary] == [
        (8, "gui ", "gui"),
        ("x", "CLI", "CLI"),
    ]


def test_a_plain_list_of_names_is_a_vocabulary_whose_ids_are_the_names() -> None:
    vocabulary = Vocabulary.from_json('["cli", "web"]')
    assert [(tag.id, tag.name) for tag in vocabulary] == [("cli", "cli"), ("web", "web")]


def test_other_keys_of_a_catalogue_are_passed_over() -> None:
    vocabulary = Vocabulary.from_json('[{"id": 1, "name": "cli", "colour": "red"}]')
    assert vocabulary.tags[0].name == "cli"


def test_null_is_no_description_and_no_aliases() -> None:
    vocabulary = Vocabulary.from_json(
        '[{"id": 1, "name": "cli", "description": null, "aliases": null}]'
    )
    assert (vocabulary.tags[0].description, vocabulary.tags[0].aliases) == ("", ())


def test_blanks_are_no_description_and_no_alias() -> None:
    vocabulary = Vocabulary.from_json(
        '[{"id": 1, "name": "cli", "description": " \\n", "aliases": ["", " \\n", "shell"]}]'
    )
    assert (vocabulary.tags[0].description, vocabulary.tags[0].aliases) == ("", ("shell",))


def test_the_sample_vocabulary_is_sound(shared: Path) -> None:
    ours = ROOT / "tags.json"
    assert ours.read_bytes() == (shared / "examples" / "tags.json").read_bytes()
    assert len(Vocabulary.load(ours)) == 90


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"id": 1}', "not a JSON list"),
        ('"cli"', "not a JSON list"),
        ("[]", "empty"),
        ('[{"id": 1}]', "tag 1 lacks 'name'"),
        ('[{"name": "cli"}]', "tag 1 lacks 'id'"),
        ('["cli", {"id": 1, "name": "web"}]', "mixes names and objects"),
        ("[1, 2]", "tag 1 is 1, not an object"),
        ('[{"id": true, "name": "cli"}]', "'id' of the wrong type"),
        ('[{"id": 1.5, "name": "cli"}]', "'id' of the wrong type"),
        ('[{"id": 1, "name": 2}]', "'name' of the wrong type"),
        ('[{"id": 1, "name": " "}]', "empty name"),
        ('["cli", "cli"]', "share the id"),
        ('[{"id": 1, "name": "cli"}, {"id": 1, "name": "web"}]', "tags 1 and 2 share the id 1"),
        ('[{"id": 1, "name": "cli"}, {"id": "1", "name": "web"}]', "share the id"),
        ('[{"id": 1, "name": "cli"}, {"id": 2, "name": " CLI "}]', "share a name"),
        ('[{"id": 1, "name": "caf\u00e9"}, {"id": 2, "name": "cafe\u0301"}]', "share a name"),
        ('[{"id": 1, "name": "\\ud800"}]', "not valid Unicode"),
        (json.dumps(["x" * 100_000, "b"]), "the name of tag 1 has 100,000 characters"),
        (
            '[{"id": 1, "name": "a", "description": 5}]',
            "'description' of the wrong type; write .*\"description\": ",
        ),
        (
            json.dumps([{"id": 1, "name": "a", "aliases": ["x"] * 40}]),
            "tag 1 has 40 aliases; 32 is the most",
        ),
        ('[{"id": 1, "name": "a", "description": "\\ud800"}]', "the description of tag 1 is not"),
        ('[{"id": 1, "name": "a", "aliases": ["\\ud800"]}]', "an alias of tag 1 is not"),
        (
            json.dumps([{"id": 1, "name": "a", "description": "x" * 5000}]),
            "the description of tag 1 has 5,000 characters; 1,000 is the most",
        ),
    ],
)
def test_an_unsound_vocabulary_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(VocabularyError, match=says):
        Vocabulary.from_json(text)


def test_a_file_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="nowhere.json: no such vocabulary file"):
        Vocabulary.load(tmp_path / "nowhere.json")
    with pytest.raises(VocabularyError, match="is a folder"):
        Vocabulary.load(tmp_path)
    (tmp_path / "bad.json").write_text("[]")
    with pytest.raises(VocabularyError, match=r"bad\.json: the vocabulary is empty"):
        Vocabulary.load(tmp_path / "bad.json")
    (tmp_path / "huge.json").write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(VocabularyError, match="larger than"):
        Vocabulary.load(tmp_path / "huge.json")


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "tags.json").write_bytes(b'\xef\xbb\xbf["cli"]')
    assert len(Vocabulary.load(tmp_path / "tags.json")) == 1


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))
def test_any_list_of_names_loads_unchanged_or_is_refused(names: list[str]) -> None:
    try:
        vocabulary = Vocabulary.from_json(json.dumps(names))
    except VocabularyError:
        folded = [fold(name) for name in names]
        assert (
            not names
            or "" in folded
            or len(set(folded)) < len(folded)
            or max(map(len, names)) > MAX_NAME
        )
    else:
        assert [tag.name for tag in vocabulary] == names


def test_an_id_that_no_encoding_holds_is_refused() -> None:
    with pytest.raises(VocabularyError, match="the id of tag 1 is not valid Unicode"):
        Vocabulary.from_json('[{"id": "\\ud800", "name": "a"}]')
