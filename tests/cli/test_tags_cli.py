"""`tagger tags`: all that is wrong with a vocabulary, at once."""

import json
import time
from pathlib import Path

import pytest

from support import tiny
from support.console import Run
from support.messages import check_line
from tagger.vocabulary import Vocabulary
from tagger.vocabulary_lint import problems, same_tokens


def said(*entries: object) -> list[str]:
    return list(problems(entries))


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("front-end", "frontend"), "nearly the same"),
        (("parser", "parsers"), "nearly the same"),
        (("containerization", "containerisation"), "nearly the same"),
        (("HTTP", "http "), "share the name"),
        (("web  server",), "odd spacing"),
        (("web\u00a0server",), "odd spacing"),
        (("a\u200bb",), r"nobody sees: a\u200bb"),
        (("a", {"id": 1, "name": "b"}), "names and objects are mixed"),
    ],
)
def test_what_is_doubtful_is_said(names: tuple[object, ...], complaint: str) -> None:
    assert any(complaint in problem for problem in said(*names))


@pytest.mark.parametrize("names", [("c", "c++"), ("http", "http-client"), ("cli", "cms")])
def test_what_differs_is_left_alone(names: tuple[str, ...]) -> None:
    assert said(*names) == []


def test_all_problems_come_at_once(run: Run, workplace: Path) -> None:
    entries = [
        {"id": 1, "name": "cli"},
        {"id": 1, "name": "web"},
        {"id": 2},
        {"id": 3, "name": ""},
        {"id": 4, "name": "webs "},
        {"id": 5, "name": "CLI"},
        7,
    ]
    (workplace / "bad.json").write_text(json.dumps(entries))
    outcome = run("tags", "check", "bad.json")
    assert outcome.code == 1
    for complaint in (
        "tags 1 and 2 share the id 1",
        "tag 3 lacks 'name'",
        "tag 4 (id 3) has an empty name",
        "tag 5 has odd spacing",
        "tags 1 and 6 share the name 'CLI'",
        "tag 7 is 7, not an object",
        "bad.json: 7 tags, 7 problems",
    ):
        assert complaint in outcome.out


def test_a_sound_vocabulary_has_its_costs_told(
    run: Run, tiny_folder: Path, workplace: Path
) -> None:
    (workplace / "good.json").write_text('["cli", "game", "web server"]')
    outcome = run("tags", "check", "good.json", "--model", str(tiny_folder))
    assert outcome.code == 0
    assert "good.json: 3 tags, no problems" in outcome.out
    assert "for each README: about" in outcome.out
    assert "the longest name: 'game' with 2 tokens" in outcome.out


def test_tags_that_a_model_cannot_tell_apart_are_said() -> None:
    vocabulary = Vocabulary.from_names(["x", "y"])
    assert list(same_tokens(vocabulary, lambda _: [1]))
    assert not list(same_tokens(vocabulary, tiny.model().tokenizer.encode))


def test_many_long_names_that_look_alike_take_no_more_than_seconds() -> None:
    names = [f"{'ab' * 95}{number:09}" for number in range(2000)]
    begun = time.process_time()
    found = said(*names)
    assert time.process_time() - begun < 20
    assert "nearly the same" in found[0]
    assert found[-1] == "so many long names are so alike that not all of them were compared"


def test_a_list_without_end_is_refused(run: Run) -> None:
    outcome = run("tags", "check", "/dev/zero")
    assert outcome.code == 2
    check_line(outcome.err)


def test_the_name_of_the_file_cannot_steer_a_terminal(run: Run, workplace: Path) -> None:
    (workplace / "\x1b]0;x\a.json").write_text('["cli"]')
    assert "\x1b" not in run("tags", "check", "\x1b]0;x\a.json").out


@pytest.mark.parametrize("content", ["", "{}", "[]", "nonsense"])
def test_what_is_no_list_is_refused(run: Run, workplace: Path, content: str) -> None:
    (workplace / "bad.json").write_text(content)
    assert run("tags", "check", "bad.json").code == 2


def test_show_lists_the_tags(run: Run) -> None:
    outcome = run("tags", "show")
    assert outcome.out == "77\t3d\n81\tgame-engine \n4\tcli\n"


def test_a_list_that_leaves_no_room_for_a_readme_is_said(run: Run, workplace: Path) -> None:
    (workplace / "long.json").write_text(json.dumps([f"tag {number}" for number in range(3000)]))
    outcome = run("tags", "check", "long.json")
    assert outcome.code == 1
    assert "leaves no room for a README" in outcome.out


def test_one_problem_is_one_problem(run: Run, workplace: Path) -> None:
    (workplace / "one.json").write_text('["web  server"]')
    assert "one.json: 1 tag, 1 problem\n" in run("tags", "check", "one.json").out


def test_a_vocabulary_in_another_encoding_says_so(run: Run, workplace: Path) -> None:
    (workplace / "latin.json").write_bytes('["café"]'.encode("latin-1"))
    outcome = run("tags", "show", "latin.json")
    assert outcome.code == 2
    assert "the vocabulary is not UTF-8 text" in outcome.err
