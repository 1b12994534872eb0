"""Replies from a server that speaks OpenAI's chat completions: vLLM, SGLang, llama.cpp and others.

The schema of the reply goes along, and whatever comes back is checked all the same: some servers
ignore the schema. Requests are tasks of one event loop rather than threads: a task can be cancelled
wherever it waits, be it for a connection, a header or a byte of the body, so that one deadline
holds for all of these and an interrupt waits for none.
"""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import openai

from tagger._util.text import printable
from tagger.errors import ReplyError, ServerError, TaggerError
from tagger.methods.base import (
    Capacity,
    FeatureIdentity,
    Identity,
)
from tagger.methods.endpoint import server as servers
from tagger.methods.endpoint.server import Messages, Server
from tagger.methods.written import reply as written
from tagger.methods.written.method import Written
from tagger.methods.written.reply import RepeatedTagError
from tagger.prompts.prompt import WRITTEN_TEMPLATE, Conversation, PromptTemplate, tag_list
from tagger.readme.cleaning import CLEANING_VERSION
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.types import README_TOKENS
from tagger.vocabulary import Tag, Vocabulary

CONCURRENCY = 8

_CHARS_PER_TOKEN = 4
"""About what English Markdown has; the server's tokenizer is not known here."""

_QUOTED = 1_000
"""Characters of a reply that cannot be used with which the next question is asked."""

_TRIES = 2
"""How often a reply that cannot be used is asked for, the second time with what was wrong."""

T = TypeVar("T")


@dataclass(frozen=True)
class Message:
    """A README as a server is asked about it.

    Attributes:
        id: what the reply calls it.
        text: what is sent of it.

    """

    id: str
    text: str

    @property
    def length(self) -> int:
        """About how many tokens there are to read."""
        return max(1, len(self.text) // _CHARS_PER_TOKEN)


class Endpoint(Written):
    """Has replies written by a server, several at a time; a `Method`.

    Args:
        url: where its API begins, usually up to `/v1`.
        model: what the server calls the model.
        vocabulary: the tags.
        template: what is said to the model; by default the package's own for written replies.
        selection: how many tags a reply holds.
        readme_tokens: about the most that is sent of a README.
        key: the server's API key, if it asks for one.
        concurrency: requests at a time.

    Attributes:
        readme_tokens: about the most that is sent of a README.

    Raises:
        UsageError: the address or the key cannot be one.

    """

    def __init__(
        self,
        url: str,
        model: str,
        vocabulary: Vocabulary,
        template: PromptTemplate | None = None,
        selection: Selection | None = None,
        readme_tokens: int = README_TOKENS,
        *,
        key: str = "",
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._server = Server(url, model, key)
        selection = selection or Selection()
        self.vocabulary = vocabulary
        self._template = template or PromptTemplate.load(default=WRITTEN_TEMPLATE)
        self.readme_tokens = readme_tokens
        self._concurrency = concurrency
        self._names = written.names(vocabulary)
        self._max_tags, self._min_tags = selection.max_tags, selection.min_tags
        self._stopped = False

    @property
    def name(self) -> str:
        """What people call the model."""
        return f"{self._server.model} at {self._server.url}"

    @property
    def identity(self) -> Identity:
        """What is known here of what a reply depends on; see `Method`."""
        return Identity(
            FeatureIdentity(
                self.name,
                self._template.digest,
                CLEANING_VERSION,
                self.readme_tokens,
            ),
            method=f"endpoint, {self._min_tags} to {self._max_tags} tags",
            vocabulary=self.vocabulary.wording,
        )

    @property
    def capacity(self) -> Capacity:
        """How many READMEs are taken together, so that requests never run out."""
        return Capacity(readmes=4 * self._concurrency)

    def conversations(self, readme: Readme) -> list[Conversation]:
        """Return the messages about a README; the server makes a prompt of them."""
        messages = self._messages(self.encode(readme))
        parts = [f"[{message['role']}]\n{message['content']}" for message in messages]
        lines = "\n\n".join(parts).split("\n")
        return [Conversation("\n".join(map(printable, lines)))]

    def prepare(self, *, reading: bool = True) -> None:
        """Make sure that somebody answers.

        Raises:
            EndpointError: nobody does, or the key is refused.

        """
        if reading:
            _run(self._server.check())

    def encode(self, readme: Readme) -> Message:
        """Return what is sent of a README, with what looks like a control token broken up."""
        text = readme.plain_text.replace("<|", "< |").replace("|>", "| >")
        return Message(written.reply_id(readme.id), text[: self.readme_tokens * _CHARS_PER_TOKEN])

    def stop(self) -> None:
        """Have `read` end with the READMEs that the server has been asked about."""
        self._stopped = True

    def read(self, readmes: Sequence[Message]) -> list[bytes | TaggerError]:
        """Return the tags of each README's reply, or why there are none.

        After `stop` there are replies for the first READMEs only: those it had begun with.

        Raises:
            EndpointError: no README can be answered: nobody is there, the key is refused, the
                model is not known, or the server speaks another language.

        """
        replies = _run(self._write(readmes))
        return [written.reading_of(reply, self.vocabulary) for reply in replies]

    async def _write(
        self, readmes: Sequence[Message]
    ) -> list[list[Tag] | ReplyError | ServerError]:
        replies: dict[int, list[Tag] | ReplyError | ServerError] = {}
        waiting = iter(enumerate(readmes))

        async def work(client: openai.AsyncOpenAI) -> None:
            while not self._stopped and (entry := next(waiting, None)):
                at, readme = entry
                try:
                    async with asyncio.timeout(servers.README_TIMEOUTS * servers.TIMEOUT):
                        replies[at] = await self._reply(client, readme)
                except TimeoutError:
                    replies[at] = self._server.late()

        try:
            async with self._server.client() as client, asyncio.TaskGroup() as tasks:
                for _ in range(min(self._concurrency, len(readmes))):
                    tasks.create_task(work(client))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [replies[at] for at in sorted(replies)]

    async def _reply(
        self, client: openai.AsyncOpenAI, readme: Message
    ) -> list[Tag] | ReplyError | ServerError:
        messages = self._messages(readme)
        most, failure, text = self._max_tags, ReplyError(""), ""
        for _ in range(_TRIES):
            try:
                schema = written.schema(readme.id, self._names, most, min(self._min_tags, most))
                text = await self._server.complete(client, messages, schema)
                self._watch(text, readme.id, most)
                return written.read(
                    text, readme.id, self.vocabulary, most, min(self._min_tags, most)
                )
            except ServerError as error:
                return error
            except RepeatedTagError as error:
                failure, most = ReplyError(str(error)), error.different
            except ReplyError as error:
                failure = error
            messages = [
                *self._messages(readme),
                {"role": "assistant", "content": text[:_QUOTED]},
                {
                    "role": "user",
                    "content": f"This cannot be used: {failure}. Reply with the JSON alone, and "
                    f"name at most {most} different tags.",
                },
            ]
        return failure

    def _messages(self, readme: Message) -> Messages:
        """Return the conversation; the README's text is put in last and holds no slots."""
        before, _, after = self._template.user.partition("{readme}")
        ask = self._template.questions[0].ask.replace("{max_tags}", str(self._max_tags))
        ask = ask.replace("{id}", json.dumps(readme.id, ensure_ascii=False))
        said = before.replace("{tags}", tag_list(self.vocabulary.tags))
        return [
            {"role": "system", "content": self._template.system},
            {"role": "user", "content": f"{said}{readme.text}{after}\n\n{ask}"},
        ]

    def _watch(self, text: str, id_: str, most: int) -> None:
        """Say once if a reply shows that the server has not heeded the schema."""
        if not self._server.takes_schemas:
            return
        try:
            reply = json.loads(text)
            heeded = (
                set(reply) == {"id", "tags"}
                and reply["id"] == id_
                and set(reply["tags"]) <= set(self._names)
                and self._min_tags <= len(reply["tags"]) <= most
            )
        except (ValueError, TypeError, RecursionError):
            heeded = False
        if not heeded:
            self._server.ignores_the_schema()


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, or until a signal's handler raises."""

    def complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # An interrupt that a task meets is raised by `run` as well: nobody needs to hear twice.
        if not isinstance(context.get("exception"), KeyboardInterrupt | SystemExit):
            loop.default_exception_handler(context)

    async def main() -> T:
        asyncio.get_running_loop().set_exception_handler(complain)
        return await work

    return asyncio.run(main())
