"""How likely each option of a question is, where the question comes with options of its own.

The options take the place of the vocabulary and the text that of the README, and they are scored as
`Rank` scores tags: the list in both orders, every option in one tree of tokens, less a part of what
content-free texts give, the branches mixed as probabilities. The options exclude one another, so
the scores become probabilities that sum to 1. Nothing is written to disk: options come from
strangers, and there is no end to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from tagger.errors import QuestionError, VocabularyError
from tagger.methods.rank.calibration import Calibration
from tagger.methods.rank.evidence import Evidence, TagLogProbs
from tagger.methods.rank.layout import Layout
from tagger.methods.rank.passes import Passes
from tagger.methods.rank.prior import CONTENT_FREE
from tagger.methods.rank.rank import AT_ONCE
from tagger.methods.rank.search import LIMIT
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import PromptTemplate
from tagger.vocabulary import MAX_DESCRIPTION, MAX_NAME, Tag, Vocabulary, fold

TEMPLATE = "questions/choice"
"""The prompt, which is none for tagging and so stands apart from those."""

MAX_OPTIONS = 1024
"""Options of one question."""

TEXT_TOKENS = 4096
"""Tokens of a text. Longer ones are refused, because an answer that ignores the end of a text would
look like any other."""

QUESTION_TOKENS = 2048
"""Tokens of what is asked."""

LIST_TOKENS = 16_384
"""Tokens of the list of options: attention masks take memory by the square of them."""

ONE_NAME_TOKENS = 256
"""Tokens of the name of one option: a character can have several, and each is a step of its own."""

NAME_TOKENS = 16_384
"""Tokens of the names of all options: the mask of a tree takes memory by the square of them."""

ROWS = 512
"""About the number of rows of logits in memory at a time; each has some 150,000 numbers."""


@dataclass(frozen=True)
class Option:
    """One possible answer.

    Attributes:
        name: what the model is to answer, in a few words.
        description: when that is the answer; may be empty.

    """

    name: str
    description: str = ""


@dataclass(frozen=True)
class Choice:
    """A question about a text, and all possible answers.

    Attributes:
        asked: the question or statement; may be empty.
        options: the answers, of which exactly one is right.

    Raises:
        QuestionError: no options or too many, an empty or endless name, a description that is too
            long, or two names that differ only in case or outer spaces.

    """

    asked: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.options) <= MAX_OPTIONS:
            raise QuestionError(
                f"{len(self.options):,} options: there must be at least 1 and at most "
                f"{MAX_OPTIONS:,}"
            )
        seen: dict[str, str] = {}
        for option in self.options:
            if not option.name.strip():
                raise QuestionError("an option has an empty name")
            for what, text, most in (
                ("the name of an option", option.name, MAX_NAME),
                ("the description of an option", option.description, MAX_DESCRIPTION),
            ):
                if len(text) > most:
                    raise QuestionError(
                        f"{what} has {len(text):,} characters; {most:,} is the maximum"
                    )
            if (first := seen.get(fold(option.name))) is not None:
                raise QuestionError(
                    f"the options {first!r} and {option.name!r} are the same (case and outer "
                    "spaces do not count): rename one"
                )
            seen[fold(option.name)] = option.name


@dataclass(frozen=True)
class OptionProbabilities:
    """How likely each option is.

    Attributes:
        values: one probability for each option, in their order; they sum to 1.
        tokens: how many tokens the model has read, prompt included.

    """

    values: tuple[float, ...]
    tokens: int


class OptionScorer:
    """Scores the options of one question for any number of texts.

    Args:
        model: the language model.
        choice: the question.

    Attributes:
        kept: how many tokens' keys and values are kept in memory once a text has been read.

    Raises:
        QuestionError: the question or its options are too long for the model.

    """

    def __init__(self, model: LanguageModel, choice: Choice) -> None:
        self._model = model
        self._calibration = Calibration.shipped(model.name)
        names = [len(model.tokenizer.encode(option.name)) for option in choice.options]
        _check("the name of an option has", max(names), ONE_NAME_TOKENS)
        _check("the names of the options have", sum(names), NAME_TOKENS)
        try:
            self._layout = Layout(
                _template(choice),
                _vocabulary(choice),
                model.tokenizer,
                one_list=model.recurrent,
            )
        except VocabularyError as error:
            raise QuestionError(
                "the model reads two of the options as the same tokens: rename one"
            ) from error
        prompt = self._layout.prompt
        _check("the list of options has", len(prompt.lists[0]), LIST_TOKENS)
        _check("the question has", len(prompt.endings[0]), QUESTION_TOKENS)
        try:
            self._room = min(TEXT_TOKENS, self._layout.room(model.context_length))
        except VocabularyError as error:
            raise QuestionError(
                f"the question and its options do not fit into the model's context of "
                f"{model.context_length:,} tokens: use fewer options, or shorter descriptions"
            ) from error
        self._passes = Passes(model, self._layout, key=None)
        self.kept = len(prompt.head) + len(prompt.bridge) + sum(map(len, self._layout.orders))

    def probabilities(self, text: str) -> OptionProbabilities:
        """Return how likely each option is for a text.

        Raises:
            QuestionError: the text is too long.
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        tokens = self._model.tokenizer.encode(text or " ")
        _check("the text has", len(tokens), self._room)
        log_probs = self._log_probs(tokens)
        evidence = Evidence(
            log_probs,
            self._prior,
            mentions=torch.zeros(1, log_probs.full.shape[-1], 2),
            limit=None if self._layout.small else LIMIT,
        )
        margins = self._calibration.margins(evidence)[0]
        read = len(tokens) + sum(self._layout.tokens.values())
        return OptionProbabilities(tuple(margins.double().softmax(dim=-1).tolist()), read)

    @cached_property
    def _prior(self) -> TagLogProbs:
        """The mean log-probability of every option for content-free texts, [branches, options]."""
        texts = [self._model.tokenizer.encode(text) for text in CONTENT_FREE]
        return TagLogProbs.cat([self._log_probs(tokens) for tokens in texts]).mean()

    def _log_probs(self, tokens: Sequence[int]) -> TagLogProbs:
        """Return the log-probability of every option after a text, [1, branches, options]."""
        if self._layout.small and len(tokens) <= AT_ONCE:
            return self._passes.read_and_score(tokens)[0]
        prefix, _ = self._passes.prefill([tokens])
        full = torch.zeros(())
        for part in self._parts:
            scored = self._passes.score(prefix, part)[0]
            full = torch.where(part, scored.full, full)
        return TagLogProbs(full, scored.first)

    @cached_property
    def _parts(self) -> list[Tensor]:
        """Masks of [options] that are scored together; the logits of all would be gigabytes."""
        tree = self._layout.trees[0]
        lengths = torch.bincount(tree.step_tags, minlength=tree.size)
        number = (lengths.cumsum(0) - 1) // ROWS
        return [number == each for each in range(int(number[-1]) + 1) if (number == each).any()]


def _template(choice: Choice) -> PromptTemplate:
    template = PromptTemplate.load(default=TEMPLATE)
    (question,) = template.questions
    ask = "\n\n".join(part for part in (choice.asked.strip(), question.ask) if part)
    return replace(template, questions=(replace(question, ask=ask),))


def _vocabulary(choice: Choice) -> Vocabulary:
    return Vocabulary(
        tuple(
            Tag(id=place, name=option.name, description=option.description)
            for place, option in enumerate(choice.options)
        )
    )


def _check(what: str, tokens: int, most: int) -> None:
    if tokens > most:
        raise QuestionError(f"{what} {tokens:,} tokens; {most:,} is the maximum")
