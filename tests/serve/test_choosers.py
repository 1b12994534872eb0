"""The questions that were asked last stay in memory, within bounds."""

import pytest

from support import tiny
from tagger.errors import QuestionError
from tagger.methods.rank.choice import Choice, Option
from tagger.models.language import LanguageModel
from tagger.serve import choosers as choosers_module
from tagger.serve.choosers import Choosers


def question(number: int) -> Choice:
    return Choice(f"{number:03d}?", (Option("yes"), Option("no")))


def prefills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Hears how often something was prefilled."""
    heard: list[int] = []
    prefill = LanguageModel.prefill

    def listen(*args: object) -> object:
        heard.append(1)
        return prefill(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(LanguageModel, "prefill", listen)
    return heard


def test_a_question_that_was_asked_before_is_not_read_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard = prefills(monkeypatch)
    choosers = Choosers(tiny.model())
    first = choosers.chances(question(1), "a text")
    read = len(heard)
    assert choosers.chances(question(1), "a text") == first
    assert len(heard) == read
    choosers.chances(question(2), "a text")
    assert len(heard) > read


def test_any_number_of_questions_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    choosers = Choosers(tiny.model())
    choosers.chances(question(0), "x")
    each = choosers.tokens
    monkeypatch.setattr(choosers_module, "MOST_TOKENS", 3 * each)
    for number in range(10):
        choosers.chances(question(number), "x")
        choosers.chances(question(0), "x")  # asked again and again, so it stays
        assert choosers.tokens <= 3 * each
    heard = prefills(monkeypatch)
    choosers.chances(question(0), "x")
    choosers.chances(question(9), "x")
    assert heard == []


def test_a_question_that_fails_is_not_kept() -> None:
    choosers = Choosers(tiny.model())
    with pytest.raises(QuestionError):
        choosers.chances(question(1), "long " * 5000)
    assert choosers.tokens == 0
