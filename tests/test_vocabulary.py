"""What a vocabulary may look like, and what is said when it does not."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import ROOT
from support.messages import refused
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


@pytest.mark.shared
def test_the_sample_vocabulary_is_sound(shared: Path) -> None:
    ours = ROOT / "tags.json"
    assert ours.read_bytes() == (shared / "examples" / "tags.json").read_bytes()
    assert len(Vocabulary.load(ours)) == 90


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[" * 100_000,
        '{"id": 1}',
        '"cli"',
        "[]",
        '[{"id": 1}]',
        '[{"name": "cli"}]',
        '["cli", {"id": 1, "name": "web"}]',
        "[1, 2]",
        '[{"id": true, "name": "cli"}]',
        '[{"id": 1.5, "name": "cli"}]',
        '[{"id": 1, "name": 2}]',
        '[{"id": 1, "name": " "}]',
        '["cli", "cli"]',
        '[{"id": 1, "name": "cli"}, {"id": 1, "name": "web"}]',
        '[{"id": 1, "name": "cli"}, {"id": "1", "name": "web"}]',
        '[{"id": 1, "name": "cli"}, {"id": 2, "name": " CLI "}]',
        '[{"id": 1, "name": "caf\u00e9"}, {"id": 2, "name": "cafe\u0301"}]',
        '[{"id": 1, "name": "\\ud800"}]',
        json.dumps(["x" * 100_000, "b"]),
        '[{"id": 1, "name": "a", "description": 5}]',
        json.dumps([{"id": 1, "name": "a", "aliases": ["x"] * 40}]),
        '[{"id": 1, "name": "a", "description": "\\ud800"}]',
        '[{"id": 1, "name": "a", "aliases": ["\\ud800"]}]',
        json.dumps([{"id": 1, "name": "a", "description": "x" * 5000}]),
    ],
)
def test_an_unsound_vocabulary_is_refused_with_the_reason(text: str) -> None:
    with refused(VocabularyError):
        Vocabulary.from_json(text)


def test_a_file_error_names_the_file(tmp_path: Path) -> None:
    with refused(VocabularyError):
        Vocabulary.load(tmp_path / "nowhere.json")
    with refused(VocabularyError):
        Vocabulary.load(tmp_path)
    (tmp_path / "bad.json").write_text("[]")
    with refused(VocabularyError):
        Vocabulary.load(tmp_path / "bad.json")
    (tmp_path / "huge.json").write_bytes(b" " * (MAX_BYTES + 1))
    with refused(VocabularyError):
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
    with refused(VocabularyError):
        Vocabulary.from_json('[{"id": "\\ud800", "name": "a"}]')
