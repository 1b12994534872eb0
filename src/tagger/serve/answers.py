"""Questions and answers that both decision protocols share.

The confidences are those that TypeSafe's documentation of System One defines: 0 where all options
are equally likely, and 1 where one is certain.
"""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, model_validator

from tagger.errors import QuestionError
from tagger.methods.rank.choice import Choice, Option

YES, NO = "yes", "no"


class Question(BaseModel):
    """A question of a protocol, which is valid if the model can be asked it."""

    @property
    def choice(self) -> Choice:
        """What the model is asked. Raises `QuestionError`."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _sound(self) -> Self:
        try:
            _ = self.choice
        except QuestionError as error:
            raise ValueError(str(error)) from error
        return self


def yes_or_no(asked: str, yes: str = "", no: str = "") -> Choice:
    """Return the choice between yes, which comes first, and no. Raises `QuestionError`."""
    return Choice(asked, (Option(YES, yes), Option(NO, no)))


def rating(asked: str, levels: Sequence[str]) -> Choice:
    """Return the choice between ordered levels, the lowest first. Raises `QuestionError`.

    The model answers with a level's number, one token each up to 9, so that the length of a
    description does not count.
    """
    return Choice(asked, tuple(Option(str(place), level) for place, level in enumerate(levels)))


def rounded(probabilities: Sequence[float]) -> list[float]:
    """Return probabilities rounded to as many decimals as answers have."""
    return [round(probability, 6) for probability in probabilities]


def best(probabilities: Sequence[float]) -> int:
    """Return the place of the most likely option, the first of several."""
    return max(range(len(probabilities)), key=lambda place: probabilities[place])


def expected(probabilities: Sequence[float]) -> float:
    """Return the mean level."""
    return sum(place * probability for place, probability in enumerate(probabilities))


def choice_confidence(probabilities: Sequence[float]) -> float:
    """Return how far the most likely option is above chance, from 0 to 1."""
    count = len(probabilities)
    if count == 1:
        return 1.0
    return max(0.0, (max(probabilities) - 1 / count) / (1 - 1 / count))


def rating_confidence(probabilities: Sequence[float]) -> float:
    """Return how closely the levels gather around the most likely one, from 0 to 1.

    1 less their mean distance from it, as a share of that of equally likely levels from their
    middle.
    """
    count = len(probabilities)
    if count == 1:
        return 1.0
    middle = (count - 1) / 2
    chance = sum(abs(level - middle) for level in range(count)) / count
    mode = best(probabilities)
    spread = sum(share * abs(level - mode) for level, share in enumerate(probabilities))
    return max(0.0, 1 - spread / chance)
