"""The questions that were asked last stay in memory, within bounds."""

import pytest

from support import tiny
from tagger.errors import QuestionError
from tagger.methods.rank.choice import Choice, Option
from tagger.models.language import LanguageModel
from tagger.serve import scorer_cache as scorer_cache_module
from tagger.serve.scorer_cache import ScorerCache


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
    scorers = ScorerCache(tiny.model())
    first = scorers.probabilities(question(1), "a text")
    read = len(heard)
    assert scorers.probabilities(question(1), "a text") == first
    assert len(heard) == read
    scorers.probabilities(question(2), "a text")
    assert len(heard) > read


def test_any_number_of_questions_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    scorers = ScorerCache(tiny.model())
    scorers.probabilities(question(0), "x")
    each = scorers.tokens
    monkeypatch.setattr(scorer_cache_module, "MOST_TOKENS", 3 * each)
    for number in range(10):
        scorers.probabilities(question(number), "x")
        scorers.probabilities(question(0), "x")  # asked again and again, so it stays
        assert scorers.tokens <= 3 * each
    heard = prefills(monkeypatch)
    scorers.probabilities(question(0), "x")
    scorers.probabilities(question(9), "x")
    assert heard == []


def test_a_question_that_fails_is_not_kept() -> None:
    scorers = ScorerCache(tiny.model())
    with pytest.raises(QuestionError):
        scorers.probabilities(question(1), "long " * 5000)
    assert scorers.tokens == 0
