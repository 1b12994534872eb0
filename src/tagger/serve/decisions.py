"""OpenAI's Decisions: `POST /v1/decisions`, in its client `decisions.create`."""

from collections.abc import Set
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Discriminator,
    Field,
    StrictBool,
    StrictStr,
    Tag,
    model_validator,
)

from tagger.errors import QuestionError
from tagger.methods.rank.choice import MAX_OPTIONS, Choice, Option, OptionProbabilities
from tagger.serve import answers
from tagger.serve.content import Content, text_of
from tagger.serve.systemone import MAX_QUESTIONS

PATH = "/v1/decisions"


class Text(BaseModel):
    """A part of a message or of an instruction."""

    type: Literal["input_text", "output_text"]
    text: str

    def __str__(self) -> str:
        return text_of(self.text)


class Json(BaseModel):
    """JSON as a part of a message or of an instruction."""

    type: Literal["input_json"]
    data: Content

    def __str__(self) -> str:
        return text_of(self.data)


class Refused(BaseModel):
    """What the assistant has said instead of an answer."""

    type: Literal["refusal"]
    refusal: str

    def __str__(self) -> str:
        return text_of(self.refusal)


Part = Annotated[Text | Json | Refused, Field(discriminator="type")]
Parts = str | Annotated[list[Part], Field(fail_fast=True)]


def _joined(parts: Parts) -> str:
    return text_of(parts) if isinstance(parts, str) else "\n".join(map(str, parts))


class Message(BaseModel):
    """What somebody has said."""

    type: Literal["message"] = "message"
    role: Literal["user", "developer", "system", "assistant"]
    content: Parts

    def __str__(self) -> str:
        return f"{self.role}: {_joined(self.content)}"


class Call(BaseModel):
    """A call of a tool."""

    type: Literal["function_call", "custom_tool_call"]
    call_id: str
    name: str
    arguments: str = ""
    input: str = ""

    def __str__(self) -> str:
        return text_of(f"call of {self.name}: {self.arguments or self.input}")


class Output(BaseModel):
    """What a tool has answered."""

    type: Literal["function_call_output", "custom_tool_call_output"]
    call_id: str
    output: Parts

    def __str__(self) -> str:
        return f"answer: {_joined(self.output)}"


class _Question(answers.Question):
    """A question with a name, which its answer repeats."""

    name: str | None = None
    instructions: Parts

    @property
    def asked(self) -> str:
        """The instructions as text."""
        return _joined(self.instructions)


class Predicate(_Question):
    """A statement about the input."""

    type: Literal["predicate"]

    @property
    def choice(self) -> Choice:
        """What the model is asked. Raises `QuestionError`."""
        if not self.asked.strip():
            raise QuestionError("the instructions are empty: there is nothing to answer")
        return answers.yes_or_no(self.asked)

    def answer(self, found: OptionProbabilities) -> "PredicateAnswer":
        """Return the answer by its options' probabilities."""
        return PredicateAnswer(name=self.name, probability=round(found.values[0], 6))


class ChoiceOption(BaseModel):
    """An option; `true` and `"true"` are two."""

    value: StrictStr | StrictBool
    description: str = ""


class ChoiceOf(_Question):
    """A choice among options."""

    type: Literal["choice"]
    choices: Annotated[
        list[ChoiceOption], Field(min_length=2, max_length=MAX_OPTIONS, fail_fast=True)
    ]

    @property
    def choice(self) -> Choice:
        """What the model is asked. Raises `QuestionError`."""
        booleans = {_label(each.value) for each in self.choices if isinstance(each.value, bool)}
        options = (
            Option(_label(option.value, booleans), text_of(option.description))
            for option in self.choices
        )
        return Choice(self.asked, tuple(options))

    def answer(self, found: OptionProbabilities) -> "ChoiceAnswer":
        """Return the answer by its options' probabilities."""
        shares = found.values
        return ChoiceAnswer(
            name=self.name,
            choice=self.choices[answers.best(shares)].value,
            confidence=answers.choice_confidence(shares),
            probabilities=[
                ValueProbability(value=option.value, probability=share)
                for option, share in zip(self.choices, answers.rounded(shares), strict=True)
            ],
        )


class Level(BaseModel):
    """A level of a rating."""

    label: str
    description: str = ""

    def __str__(self) -> str:
        return text_of(": ".join(part for part in (self.label, self.description) if part))


class Score(_Question):
    """A rating by levels, the lowest first."""

    type: Literal["score"]
    levels: Annotated[list[Level], Field(min_length=1, max_length=MAX_OPTIONS, fail_fast=True)]

    @property
    def choice(self) -> Choice:
        """What the model is asked. Raises `QuestionError`."""
        return answers.rating(self.asked, [str(level) for level in self.levels])

    def answer(self, found: OptionProbabilities) -> "ScoreAnswer":
        """Return the answer by its levels' probabilities."""
        shares = found.values
        return ScoreAnswer(
            name=self.name,
            score=answers.expected(shares),
            confidence=answers.rating_confidence(shares),
            probabilities=[
                LevelProbability(value=value, label=level.label, probability=share)
                for value, (level, share) in enumerate(
                    zip(self.levels, answers.rounded(shares), strict=True)
                )
            ],
        )


def _kind(item: Any) -> str | None:
    """Return which kind of item is meant, so that a wrong one is not tried as each in turn."""
    kind = item.get("type", "message") if isinstance(item, dict) else None
    return _KINDS.get(kind) if isinstance(kind, str) else None


_KINDS = {
    "message": "message",
    "function_call": "call",
    "custom_tool_call": "call",
    "function_call_output": "output",
    "custom_tool_call_output": "output",
}
Item = Annotated[
    Annotated[Message, Tag("message")]
    | Annotated[Call, Tag("call")]
    | Annotated[Output, Tag("output")],
    Discriminator(
        _kind,
        custom_error_type="invalid",
        custom_error_message="must be a message, a call of a tool or the output of a tool",
    ),
]
Question = Annotated[Predicate | ChoiceOf | Score, Field(discriminator="type")]


class DecisionRequest(BaseModel):
    """Questions about one input; other fields, such as those for caching, are ignored."""

    model: str
    """Any name: there is one model here."""
    input: str | Annotated[list[Item], Field(fail_fast=True)]
    questions: Annotated[
        list[Question], Field(min_length=1, max_length=MAX_QUESTIONS, fail_fast=True)
    ]

    @property
    def text(self) -> str:
        """The input as text; a single message of the user's is that message."""
        if isinstance(self.input, str):
            return text_of(self.input)
        if len(self.input) == 1 and isinstance(self.input[0], Message):
            return _joined(self.input[0].content)
        return "\n\n".join(map(str, self.input))

    @property
    def choices(self) -> dict[int, Choice]:
        """What the model is asked, by the positions of the questions."""
        return {place: question.choice for place, question in enumerate(self.questions)}

    @model_validator(mode="after")
    def _calls_come_before_outputs(self) -> "DecisionRequest":
        called: set[str] = set()
        for item in () if isinstance(self.input, str) else self.input:
            if isinstance(item, Call):
                called.add(item.call_id)
            elif isinstance(item, Output) and item.call_id not in called:
                raise ValueError("input: the output of a tool has no call before it")
        return self


class PredicateAnswer(BaseModel):
    """How likely the statement is true."""

    type: Literal["predicate"] = "predicate"
    name: str | None
    probability: float


class ValueProbability(BaseModel):
    """How likely an option is."""

    value: str | bool
    probability: float


class ChoiceAnswer(BaseModel):
    """The most likely option."""

    type: Literal["choice"] = "choice"
    name: str | None
    choice: str | bool
    confidence: float
    probabilities: list[ValueProbability]


class LevelProbability(BaseModel):
    """How likely a level is."""

    value: int
    label: str
    probability: float


class ScoreAnswer(BaseModel):
    """The expected level, from 0."""

    type: Literal["score"] = "score"
    name: str | None
    score: float
    confidence: float
    probabilities: list[LevelProbability]


class InputDetails(BaseModel):
    """Cached tokens are not counted."""

    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(BaseModel):
    """Nothing is written."""

    reasoning_tokens: int = 0


class Usage(BaseModel):
    """Tokens that were read; none are written."""

    input_tokens: int
    total_tokens: int
    output_tokens: int = 0
    input_tokens_details: InputDetails = InputDetails()
    output_tokens_details: OutputDetails = OutputDetails()


class Decision(BaseModel):
    """The answers, in the order of the questions."""

    model: str
    answers: list[PredicateAnswer | ChoiceAnswer | ScoreAnswer]
    usage: Usage


def response(request: DecisionRequest, model: str, found: list[OptionProbabilities]) -> Decision:
    """Return the answers by the probabilities of each question's options, in their order."""
    read = sum(each.tokens for each in found)
    return Decision(
        model=model,
        answers=[
            question.answer(each) for question, each in zip(request.questions, found, strict=True)
        ],
        usage=Usage(input_tokens=read, total_tokens=read),
    )


def _label(value: str | bool, booleans: Set[str] = frozenset()) -> str:
    """Return what the model answers for a value: a text that looks like a boolean is quoted."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if value in booleans else text_of(value)
