"""TypeSafe's System One, the API behind Jev: `POST /v1/systemone`.

See https://docs.typesafe.ai. The 48 requirements that `jevcompat` checks describe it most exactly.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from tagger.errors import QuestionError
from tagger.methods.rank.choice import MAX_OPTIONS, Choice, Option, OptionProbabilities
from tagger.serve import answers
from tagger.serve.content import Content, text_of
from tagger.serve.faults import TOO_LARGE

PATH = "/v1/systemone"

ALIAS = "jev-latest"
"""The model that clients ask for by default."""

MAX_QUESTIONS = 400
"""Questions of one request, as in OpenAI's protocol."""


def _described(criteria: Any) -> Any:
    """Refuse too many options, and stop at the first that is described by what is no text.

    Pydantic has a fault for each item of an object. Raises `ValueError`.
    """
    if isinstance(criteria, dict):
        if len(criteria) > MAX_OPTIONS:
            raise PydanticCustomError(TOO_LARGE, f"has more than {MAX_OPTIONS:,} options")
        if not all(isinstance(each, str | dict | list | None) for each in criteria.values()):
            raise ValueError("describe each option by text, a JSON object or an array, or null")
    return criteria


class _Question(answers.Question):
    """A question; what is asked may be said by the criteria alone."""

    instructions: Content | None = None


class NoulCriteria(BaseModel):
    """What counts as yes and as no."""

    true: Content | None = None
    false: Content | None = None


class Noul(_Question):
    """A question to be answered with yes or no, or a statement."""

    type: Literal["noul"]
    criteria: NoulCriteria | None = None

    @property
    def choice(self) -> Choice:
        """What the model is asked. Raises `QuestionError`."""
        criteria = self.criteria or NoulCriteria()
        asked, yes, no = map(text_of, (self.instructions, criteria.true, criteria.false))
        if not (asked or yes or no):
            raise QuestionError("neither instructions nor criteria: there is nothing to answer")
        return answers.yes_or_no(asked, yes, no)

    def answer(self, found: OptionProbabilities) -> "NoulAnswer":
        """Return the answer by its options' probabilities."""
        return NoulAnswer(noul=round(found.values[0], 6))


class ChoiceOf(_Question):
    """A choice among named options."""

    type: Literal["choice"]
    criteria: Annotated[dict[str, Content | None], BeforeValidator(_described)]

    @property
    def choice(self) -> Choice:
        """What the model is asked. Raises `QuestionError`."""
        options = (Option(name, text_of(text)) for name, text in self.criteria.items())
        return Choice(text_of(self.instructions), tuple(options))

    def answer(self, found: OptionProbabilities) -> "ChoiceAnswer":
        """Return the answer by its options' probabilities."""
        names, shares = list(self.criteria), found.values
        return ChoiceAnswer(
            choice=names[answers.best(shares)],
            confidence=answers.choice_confidence(shares),
            probabilities=dict(zip(names, answers.rounded(shares), strict=True)),
        )


class Score(_Question):
    """A rating by levels, the lowest first."""

    type: Literal["score"]
    criteria: Annotated[list[Content], Field(max_length=MAX_OPTIONS, fail_fast=True)]

    @property
    def choice(self) -> Choice:
        """What the model is asked. Raises `QuestionError`."""
        return answers.rating(text_of(self.instructions), [text_of(each) for each in self.criteria])

    def answer(self, found: OptionProbabilities) -> "ScoreAnswer":
        """Return the answer by its levels' probabilities."""
        shares = found.values
        return ScoreAnswer(
            score=answers.expected(shares),
            confidence=answers.rating_confidence(shares),
            legend={str(level): text for level, text in enumerate(self.criteria)},
            probabilities={
                str(level): share for level, share in enumerate(answers.rounded(shares))
            },
        )


Question = Annotated[Noul | ChoiceOf | Score, Field(discriminator="type")]


class SystemOneRequest(BaseModel):
    """Questions about one state; unknown fields are ignored."""

    model: str
    """Any name, such as jev-latest: there is one model here."""
    state: Content
    questions: Annotated[dict[str, Question], Field(min_length=1, max_length=MAX_QUESTIONS)]
    assets: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """The state as text."""
        return text_of(self.state)

    @property
    def choices(self) -> dict[str, Choice]:
        """What the model is asked, by the ids of the questions."""
        return {id_: question.choice for id_, question in self.questions.items()}

    @model_validator(mode="after")
    def _without_images(self) -> "SystemOneRequest":
        if self.assets:
            raise ValueError("assets: the model reads text only")
        return self


class NoulAnswer(BaseModel):
    """How likely yes is."""

    type: Literal["noul"] = "noul"
    noul: float


class ChoiceAnswer(BaseModel):
    """The most likely option."""

    type: Literal["choice"] = "choice"
    choice: str
    confidence: float
    probabilities: dict[str, float]


class ScoreAnswer(BaseModel):
    """The expected level."""

    type: Literal["score"] = "score"
    score: float
    confidence: float
    legend: dict[str, Any]
    probabilities: dict[str, float]


class Usage(BaseModel):
    """Tokens that were read; none are written."""

    input_tokens: int
    output_tokens: int = 0


class SystemOneResponse(BaseModel):
    """The answers, by the ids of the questions."""

    model: str
    answers: dict[str, NoulAnswer | ChoiceAnswer | ScoreAnswer]
    usage: Usage


class Model(BaseModel):
    """A model that may be named."""

    name: str
    description: str
    release_date: str = ""


def response(
    request: SystemOneRequest, model: str, found: list[OptionProbabilities]
) -> SystemOneResponse:
    """Return the answers by the probabilities of each question's options, in their order."""
    return SystemOneResponse(
        model=model,
        answers={
            id_: question.answer(each)
            for (id_, question), each in zip(request.questions.items(), found, strict=True)
        },
        usage=Usage(input_tokens=sum(each.tokens for each in found)),
    )
