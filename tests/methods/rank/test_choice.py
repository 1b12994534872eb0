"""Questions with options of their own: scored as `Rank` scores tags, within bounds."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from support import tiny
from support.messages import refused
from tagger.errors import QuestionError
from tagger.methods.rank import choice as choice_module
from tagger.methods.rank.choice import MAX_OPTIONS, TEMPLATE, Choice, Option, OptionScorer
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import PromptTemplate
from tagger.readme.readme import Readme
from tagger.vocabulary import Vocabulary

TEXT = "A game engine with an HTTP client."
SMALL = ["http", "http-client", "game", "game-engine", "cli", "web server"]
LARGE = [f"{first}{second}" for first in "abcdefghijkl" for second in ("x one", "y two", "zz")] * 4
LARGE = [f"{name} {number}" for number, name in enumerate(LARGE)]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return tiny.model(max_position_embeddings=16_384)


def choice_of(names: list[str], asked: str = "What is it?") -> Choice:
    return Choice(asked, tuple(map(Option, names)))


def rank_of(model: LanguageModel, choice: Choice) -> Rank:
    """A `Rank` with the same prompt, whose tags are the options."""
    template = PromptTemplate.load(default=TEMPLATE)
    (question,) = template.questions
    asked = replace(question, ask=f"{choice.asked}\n\n{question.ask}")
    vocabulary = Vocabulary.from_names([option.name for option in choice.options])
    template = replace(template, questions=(asked,))
    return Rank(model, vocabulary, template, readme_tokens=2000, head=None, probe=None)


@pytest.mark.parametrize("names", [SMALL, LARGE], ids=["all in one pass", "in parts"])
def test_options_are_scored_as_rank_scores_tags(model: LanguageModel, names: list[str]) -> None:
    choice = choice_of(names)
    rank = rank_of(model, choice)
    # A small list is read in both orders.
    assert len(rank.layout.branches) == (2 if names is SMALL else 1)
    evidence = rank.evidence([rank.encode(Readme("x", TEXT))])
    expected = rank.calibration.margins(evidence)[0].softmax(-1)
    found = OptionScorer(model, choice).probabilities(TEXT).values
    torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-3, atol=1e-6)


def test_options_are_scored_by_a_model_with_recurrent_layers() -> None:
    model = tiny.model("qwen3_5_text")
    choice = choice_of(SMALL)
    rank = rank_of(model, choice)
    evidence = rank.evidence([rank.encode(Readme("x", TEXT))])
    expected = rank.calibration.margins(evidence)[0].softmax(-1)
    found = OptionScorer(model, choice).probabilities(TEXT).values
    torch.testing.assert_close(torch.tensor(found), expected, rtol=1e-3, atol=1e-6)


def test_parts_give_what_one_pass_gives(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for rows in (40, 1_000_000):
        monkeypatch.setattr(choice_module, "ROWS", rows)
        found.append(OptionScorer(model, choice_of(LARGE)).probabilities(TEXT).values)
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_probabilities_sum_to_one_and_depend_on_the_text(model: LanguageModel) -> None:
    scorer = OptionScorer(model, choice_of(SMALL))
    first, second, again = (scorer.probabilities(text) for text in (TEXT, "", TEXT))
    assert sum(first.values) == pytest.approx(1)
    assert first == again
    assert first.values != second.values
    assert first.tokens > second.tokens


def test_a_description_and_what_is_asked_count(model: LanguageModel) -> None:
    plain, other = choice_of(SMALL), choice_of(SMALL, "What is it not?")
    described = replace(plain, options=(Option("http", "a protocol"), *plain.options[1:]))
    found = {
        OptionScorer(model, each).probabilities(TEXT).values for each in (plain, other, described)
    }
    assert len(found) == 3


def test_one_option_is_certain(model: LanguageModel) -> None:
    assert OptionScorer(model, choice_of(["yes"])).probabilities(TEXT).values == (1.0,)


def test_nothing_is_written_to_disk(model: LanguageModel, cache: Path) -> None:
    OptionScorer(model, choice_of(SMALL)).probabilities(TEXT)
    assert not cache.exists()


def test_a_long_text_is_read_to_its_end(model: LanguageModel) -> None:
    scorer = OptionScorer(model, choice_of(SMALL))
    words = "word " * 500
    assert scorer.probabilities(words + "http").tokens > 1024
    assert scorer.probabilities(words + "http") != scorer.probabilities(words + "game")


@pytest.mark.parametrize(
    "options",
    [
        (),
        tuple(Option(str(number)) for number in range(MAX_OPTIONS + 1)),
        (Option("yes"), Option("")),
        (Option("a"), Option("b"), Option("a")),
        (Option("yes"), Option("no"), Option(" YES")),
        (Option("é"), Option("e\u0301")),
        (Option("x" * 201),),
        (Option("yes", "x" * 1001),),
    ],
    ids=["none", "many", "empty", "twice", "case", "normal forms", "long name", "long description"],
)
def test_options_that_are_none(options: tuple[Option, ...]) -> None:
    with refused(QuestionError):
        Choice("?", options)


@pytest.mark.parametrize(
    "limit", ["ONE_NAME_TOKENS", "NAME_TOKENS", "LIST_TOKENS", "QUESTION_TOKENS", "TEXT_TOKENS"]
)
def test_what_would_take_too_much_memory(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(choice_module, limit, 1 if limit == "ONE_NAME_TOKENS" else 3)
    with refused(QuestionError):
        OptionScorer(model, choice_of(SMALL)).probabilities(TEXT)


def test_what_does_not_fit_into_the_models_context() -> None:
    short = tiny.model(max_position_embeddings=256)
    with refused(QuestionError):
        OptionScorer(short, choice_of(SMALL + [f"option {n}" for n in range(40)]))
