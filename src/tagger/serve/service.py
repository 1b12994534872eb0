"""Answers to requests, whatever protocol they speak."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from tagger.errors import QuestionError, TaggerError
from tagger.methods.rank.choice import Choice, OptionProbabilities
from tagger.methods.rank.rank import Rank
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.serve.engine import Engine, in_order
from tagger.serve.failures import Refusal, is_clients
from tagger.serve.faults import Fault, InvalidBodyError
from tagger.serve.schemas import ReadmeIn, TagRequest
from tagger.tagger import Tagger
from tagger.tagging import Failure

T = TypeVar("T")


class Service:
    """Answers requests with one model.

    Args:
        rank: the method.
        engine: runs it.
        selection: how many tags are given where a request does not say.
        seconds: how long a request may wait for its answer.

    Attributes:
        rank: the method.
        engine: runs it.

    """

    def __init__(self, rank: Rank, engine: Engine, selection: Selection, seconds: float) -> None:
        self.rank = rank
        self.engine = engine
        self._selection = selection
        self._seconds = seconds

    async def tag(self, request: TagRequest) -> str:
        """Return the reply to a README, or the replies to several, as JSON.

        In a list a README that cannot be tagged has a row that says why, as in a batch.

        Raises:
            Refusal: it cannot be answered now, or not in time.
            ReadmeError: the README cannot be read as text.
            UsageError: the numbers of tags contradict each other.
            ModelError: the model fails.

        """
        tagger = Tagger(self.rank, request.selection(self._selection))

        async def reply(readme: Readme) -> str:
            ranking = await self.engine.ranking(readme)
            return tagger.reply(readme.id, ranking).to_json(scores=True)

        async def row(given: ReadmeIn) -> str:
            try:
                return await reply(given.to_readme())
            except TaggerError as error:
                if not is_clients(error):
                    raise
                kind = type(error).__name__
                return Failure(id=str(given.id), type=kind, message=str(error)).to_json()

        if (single := request.single) is not None:
            readme = single.to_readme()
            (answer,) = await self._in_time(1, lambda: [reply(readme)])
            return answer
        given = request.readmes or []
        rows = await self._in_time(len(given), lambda: [row(each) for each in given])
        return f'{{"replies":[{",".join(rows)}]}}'

    async def probabilities(
        self, choices: Mapping[str, Choice] | Mapping[int, Choice], text: str
    ) -> list[OptionProbabilities]:
        """Return how likely the options of each question are for a text.

        Args:
            choices: the questions, by their keys in the body.
            text: what they are about.

        Raises:
            Refusal: they cannot be answered now, or not in time.
            InvalidBodyError: a question, or the text with it, is too long for the model.
            ModelError: the model fails.

        """

        async def answer(key: str | int, choice: Choice) -> OptionProbabilities:
            try:
                return await self.engine.probabilities(choice, text)
            except QuestionError as error:
                place = ("questions", key)
                fault = Fault(place, type(error).__name__, str(error))
                raise InvalidBodyError(fault) from error

        return await self._in_time(
            len(choices), lambda: [answer(key, choice) for key, choice in choices.items()]
        )

    async def _in_time(self, count: int, answers: Callable[[], Sequence[Awaitable[T]]]) -> list[T]:
        with self.engine.accepted(count):
            try:
                async with asyncio.timeout(self._seconds):
                    return await in_order(answers())
            except TimeoutError:
                raise Refusal(
                    504,
                    f"no answer within {self._seconds:g} s: send less at a time, or ask again "
                    "later",
                ) from None
