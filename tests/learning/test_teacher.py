"""A teacher: labels of a sample, kept as they come."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from support.messages import refused
from tagger.errors import (
    EndpointError,
    LabelsError,
    ReadmeError,
    ReplyError,
    TaggerError,
)
from tagger.evaluation.labels import load_labels
from tagger.learning.sample import draw
from tagger.learning.teacher import MOST_ALIKE, Teacher
from tagger.methods.base import Capacity
from tagger.readme.readme import Readme
from tagger.readme.sources import Sources
from tagger.tagging import GivenTag, Ranking
from tagger.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_names(["cli", "web ", "game"])

Answer = Callable[[Readme], Sequence[str] | TaggerError]


def by_text(readme: Readme) -> Sequence[str]:
    """The tags that a README names."""
    return [tag.label for tag in VOCABULARY if tag.label in readme.text]


class Method:
    """A method whose answers a test gives, several READMEs at a time."""

    name = "a model"
    vocabulary = VOCABULARY
    capacity = Capacity(readmes=4)

    def __init__(self, answer: Answer = by_text) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.stopped = False

    def prepare(self, *, reading: bool = True) -> None:
        self.asked.append("")

    def encode(self, readme: Readme) -> Readme:
        return readme

    def read(self, readmes: Sequence[Readme]) -> list[bytes | TaggerError]:
        found: list[bytes | TaggerError] = []
        for readme in readmes[: 1 if self.stopped else None]:
            self.asked.append(readme.id)
            reply = self.answer(readme)
            found.append(reply if isinstance(reply, TaggerError) else json.dumps(reply).encode())
        return found

    def rank(self, readings: Sequence[bytes]) -> list[Ranking]:
        (reading,) = readings
        tags = {tag.label: GivenTag(id=tag.id, name=tag.name) for tag in VOCABULARY}
        return [Ranking(tuple(tags[name] for name in json.loads(reading)))]

    def stop(self) -> None:
        self.stopped = True


def rows(path: Path) -> list[str]:
    return path.read_text().splitlines()


def readmes(count: int) -> list[Readme]:
    words = ("cli", "web", "game", "web and cli")
    return [Readme(str(n), f"{n}: a {words[n % 4]}") for n in range(count)]


def teacher(method: Method, path: Path) -> Teacher:
    return Teacher(method, path)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "teacher.jsonl"


def test_its_replies_become_label_rows(path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    labels, failures = teacher(Method(), path).label(readmes(6), lambda *told: heard.append(told))
    assert failures == []
    assert heard == [("asking the teacher", 4, 6), ("asking the teacher", 6, 6)]
    assert rows(path) == [label.to_json() for label in labels]
    assert [label.tags for label in labels[:4]] == [("cli",), ("web",), ("game",), ("cli", "web")]
    assert {label.source for label in labels} == {"teacher"}


def test_what_it_has_labelled_is_not_asked_for_again(path: Path) -> None:
    teacher(Method(), path).label(readmes(6))
    corrected = path.read_text().replace('["game"]', "[]", 1)
    path.write_text(corrected)
    method = Method()
    labels, _ = teacher(method, path).label(readmes(8))
    assert method.asked == ["", "6", "7"]
    assert [label.id for label in labels] == list("01234567")
    assert labels[2].tags == (), "as a person has corrected it"
    assert path.read_text().startswith(corrected)


def test_a_row_that_an_editor_left_without_an_end_is_kept(path: Path) -> None:
    teacher(Method(), path).label(readmes(2))
    path.write_text(path.read_text().rstrip("\n"))
    assert len(teacher(Method(), path).label(readmes(3))[0]) == 3
    assert len(load_labels(path, VOCABULARY)) == 3


def test_readmes_of_one_id_have_rows_of_their_own(path: Path) -> None:
    same = [Readme("README", readme.text) for readme in readmes(3)]
    assert len(teacher(Method(), path).label(same[:2])[0]) == 2
    assert len(teacher(Method(), path).label(same)[0]) == 3
    found = load_labels(path, VOCABULARY)
    assert found[0].id == "README"
    assert len({label.id for label in found}) == 3


def test_a_readme_is_learned_from_by_its_own_markup(path: Path) -> None:
    for _ in range(2):
        found = Readme("a", "Tool\n====\n\n.. image:: a-cli.png", "docs/README.rst")
        labels, _ = teacher(Method(), path).label([found])
        assert labels[0].to_readme().markup == "rst"


def test_a_readme_that_cannot_be_cleaned_is_left_out(path: Path) -> None:
    class Fussy(Method):
        def encode(self, readme: Readme) -> Readme:
            if readme.id == "1":
                raise ReadmeError("1: takes too long")
            return readme

    labels, failures = teacher(Fussy(), path).label(readmes(3))
    assert [label.id for label in labels] == ["0", "2"]
    assert [str(failure) for failure in failures] == ["1: takes too long"]


@pytest.mark.parametrize("name", [".", "nowhere/teacher.jsonl", "pipe"])
def test_a_file_that_cannot_be_written_is_refused_before_anybody_is_asked(
    workplace: Path, name: str
) -> None:
    os.mkfifo(workplace / "pipe")
    with refused(TaggerError):
        teacher(Method(), Path(name))


def test_without_a_new_readme_nobody_is_asked(path: Path) -> None:
    teacher(Method(), path).label(readmes(3))
    method = Method()
    assert len(teacher(method, path).label(readmes(2))[0]) == 3
    assert method.asked == []


def test_a_readme_without_a_reply_is_left_out_and_asked_for_again(path: Path) -> None:
    def fails(readme: Readme) -> Sequence[str] | TaggerError:
        return ReplyError("no") if readme.id == "1" else by_text(readme)

    labels, failures = teacher(Method(fails), path).label(readmes(3))
    assert [label.id for label in labels] == ["0", "2"]
    assert [str(failure) for failure in failures] == ["no"]
    method = Method()
    assert len(teacher(method, path).label(readmes(3))[0]) == 3
    assert method.asked == ["", "1"]


def test_one_that_names_tags_of_its_own_is_stopped(path: Path) -> None:
    def invents(readme: Readme) -> TaggerError:
        return ReplyError(f"{readme.id!r} gets 'made up', which is not in the list")

    method = Method(invents)
    with refused(EndpointError):
        teacher(method, path).label(readmes(60))
    assert len(method.asked) == 1 + 20


def test_one_that_always_gives_the_same_is_stopped_and_its_labels_are_kept(path: Path) -> None:
    with refused(EndpointError):
        teacher(Method(lambda _: ["cli", "web"]), path).label(readmes(60))
    assert len(load_labels(path, VOCABULARY)) == MOST_ALIKE
    assert MOST_ALIKE % Method.capacity.readmes == 0, "all that it was asked for"
    again = teacher(Method(), path)
    with pytest.raises(EndpointError, match="the very same tags"):
        again.label(readmes(60))
    assert len(load_labels(path, VOCABULARY)) == MOST_ALIKE, "nothing more was asked"


def test_a_stop_keeps_what_was_begun(path: Path) -> None:
    method = Method()
    work = teacher(method, path)

    def stop(readme: Readme) -> Sequence[str]:
        if readme.id == "5":
            work.stop()
        return by_text(readme)

    method.answer = stop
    labels, _ = work.label(readmes(40))
    assert [label.id for label in labels] == list("01234567")
    assert rows(path) == [label.to_json() for label in labels]


def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.write_text("notes\n")
    with refused(LabelsError):
        teacher(Method(), path)
    assert path.read_text() == "notes\n"


def test_a_larger_sample_holds_a_smaller_one_whatever_the_order(tmp_path: Path) -> None:
    rows = [json.dumps({"id": n, "readme": f"text {n % 40}"}) for n in range(50)]
    found = []
    for name, order in (("a", rows), ("b", rows[::-1])):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(order))
        sources = Sources((str(tmp_path / f"{name}.jsonl"),))
        small, large = ([readme.text for readme in draw(sources, size)] for size in (10, 100))
        assert large[:10] == small
        assert len(large) == len(set(large)) == 40
        found.append(large)
    assert found[0] == found[1]
