"""Replies from a server that speaks OpenAI's chat completions: vLLM, SGLang, llama.cpp and others.

The schema of the reply goes along, and whatever comes back is checked all the same: some servers
pass the schema over. Waiting, retrying and back-off are the official client's. Requests are tasks
of one event loop rather than threads: a task can be cancelled wherever it waits, be it for a
connection, a header or a byte of the body, so that one deadline holds for all of these and an
interrupt waits for none.
"""

import asyncio
import json
import logging
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import httpx2
import openai

from tagger._util.text import printable, storable
from tagger.errors import (
    EndpointError,
    ReplyError,
    ServerError,
    TaggerError,
    UsageError,
)
from tagger.methods.base import (
    Capacity,
    FeatureIdentity,
    Identity,
    ranking_from_bytes,
)
from tagger.methods.bounded import bounded_client
from tagger.methods.written import reply as written
from tagger.methods.written.reply import RepeatedTagError
from tagger.prompts.prompt import WRITTEN_TEMPLATE, Conversation, PromptTemplate, listed
from tagger.readme.cleaning import CLEANING_VERSION
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.tagging import Ranking
from tagger.types import README_TOKENS
from tagger.vocabulary import Tag, Vocabulary

KEY_VARIABLE = "TAGGER_API_KEY"
CONCURRENCY = 8
RETRIES = 4
TIMEOUT = 120.0
"""Seconds for one exchange as a whole: connecting, sending, and all of the answer."""

README_TIMEOUTS = 2
"""How many of these a README may take with everything that is tried for it, waits included."""

_REPLY_TOKENS = 256
_CHARS_PER_TOKEN = 4
"""About what English Markdown has; the server's tokenizer is not known here."""

_ANSWER_BYTES = 4 * 1024 * 1024
"""More than any reply needs: a longer answer is not read to its end."""

_SEARCHED = 4096
"""Characters of an error's text that are looked at."""

_QUOTED = 1_000
"""Characters of a reply that cannot be used with which the next question is asked."""

_NO_MODEL = re.compile(r"model.{0,80}(not found|does not exist|unknown|not exist)", re.I | re.S)

_TRIES = 2
"""How often a reply that cannot be used is asked for, the second time with what was wrong."""

_FORMS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    lambda schema: {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "tags", "strict": True, "schema": schema},
        }
    },
    lambda schema: {"response_format": {"type": "json_object", "schema": schema}},
    lambda _: {},
)
"""Ways to send a schema: OpenAI's, that of llama-cpp-python's server, and none."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class _Nonsense(Exception):  # noqa: N818 (it never leaves this module)
    """An answer that is no chat completion."""


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


class Endpoint:
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
        vocabulary: the tags.
        threshold: None: a written reply has no confidences.
        readme_tokens: about the most that is sent of a README.

    Raises:
        UsageError: the address or the key cannot be one.

    """

    threshold: float | None = None

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
        _check_address(url)
        _check_key(key)
        selection = selection or Selection()
        self._model, self.vocabulary = model, vocabulary
        self._template = template or PromptTemplate.load(default=WRITTEN_TEMPLATE)
        self._url = _shown(url)
        self.readme_tokens = readme_tokens
        self._concurrency = concurrency
        self._names = written.names(vocabulary)
        self._max_tags, self._min_tags = selection.max_tags, selection.min_tags
        self._address, self._key = url, key
        self._stopped = False
        self._form = 0
        self._options: dict[str, Any] = {"temperature": 0.0, "max_tokens": _REPLY_TOKENS}
        self._forms_left = True
        self._said = False
        self._understood = False

    @property
    def name(self) -> str:
        """What people call the model."""
        return f"{self._model} at {self._url}"

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
    def reading_identity(self) -> Identity:
        """What a reading depends on: it is the reply."""
        return self.identity

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

    def prepare(self) -> None:
        """Make sure that somebody answers.

        Raises:
            EndpointError: nobody does, or the key is refused.

        """
        _run(self._prepare())

    async def _prepare(self) -> None:
        # Only what rules out every README counts: not every server lists its models, and one that
        # is busy or confused here may answer later. The first README tells.
        try:
            async with self._client() as client, asyncio.timeout(TIMEOUT):
                await client.models.list()
        except (
            openai.APIConnectionError,
            openai.AuthenticationError,
            openai.PermissionDeniedError,
        ) as error:
            if isinstance(verdict := self._told(error), EndpointError):
                raise verdict from None
        except EndpointError:
            raise
        except Exception:  # the client raises anything at an answer of an odd shape
            log.debug("the list of models cannot be read", exc_info=True)

    def encode(self, readme: Readme) -> Message:
        """Return what is sent of a README, with what looks like a control token broken up."""
        text = readme.plain_text.replace("<|", "< |").replace("|>", "| >")
        return Message(written.called(readme.id), text[: self.readme_tokens * _CHARS_PER_TOKEN])

    def stop(self) -> None:
        """Have `read` end with the READMEs that the server has been asked about."""
        self._stopped = True

    def rank(self, reading: bytes) -> Ranking:
        """Return the tags of a reply. Raises `ValueError`."""
        return ranking_from_bytes(reading, self.vocabulary)

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
                    async with asyncio.timeout(README_TIMEOUTS * TIMEOUT):
                        replies[at] = await self._reply(client, readme)
                except TimeoutError:
                    replies[at] = self._late()

        try:
            async with self._client() as client, asyncio.TaskGroup() as tasks:
                for _ in range(min(self._concurrency, len(readmes))):
                    tasks.create_task(work(client))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [replies[at] for at in sorted(replies)]

    def _client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            base_url=self._address,
            api_key=self._key or "none",
            max_retries=RETRIES,
            timeout=TIMEOUT,
            http_client=bounded_client(self._address, TIMEOUT, _ANSWER_BYTES),
        )

    async def _reply(
        self, client: openai.AsyncOpenAI, readme: Message
    ) -> list[Tag] | ReplyError | ServerError:
        messages = self._messages(readme)
        most, failure, text = self._max_tags, ReplyError(""), ""
        for _ in range(_TRIES):
            try:
                text = await self._understandable(client, messages, readme.id, most)
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

    async def _understandable(
        self, client: openai.AsyncOpenAI, messages: list[dict[str, str]], id_: str, most: int
    ) -> str:
        """Return the text of a reply, asked for again where the answer was cut or mixed up."""
        for _ in range(_TRIES):
            try:
                return await self._ask(client, messages, id_, most)
            except _Nonsense:
                log.debug("an answer cannot be read", exc_info=True)
        try:
            return await self._ask(client, messages, id_, most)
        except _Nonsense as nonsense:
            raise self._meaning(nonsense) from nonsense

    async def _ask(
        self, client: openai.AsyncOpenAI, messages: list[dict[str, str]], id_: str, most: int
    ) -> str:
        """Return the text of a reply."""
        schema = written.schema(id_, self._names, most, min(self._min_tags, most))
        while True:
            form, sent = self._form, dict(self._options)
            try:
                # Until a way to send the schema is known to work, errors may be about it, and
                # servers that cannot take it answer 500 as well as 400.
                answer = await client.with_options(
                    max_retries=RETRIES if self._understood or not self._forms_left else 0
                ).chat.completions.create(
                    model=self._model,
                    messages=messages,  # type: ignore[arg-type]
                    **sent,
                    **_FORMS[form](schema),
                )
                break
            except openai.APIResponseValidationError as error:
                raise _Nonsense(str(error)) from None
            except openai.APIError as error:
                if self._adapted(error, sent):
                    continue
                if _is_about_the_schema(error) and form + 1 < len(_FORMS):
                    self._take_next_form(form)
                elif self._understood or not self._forms_left:
                    raise self._told(error) from None
                else:
                    self._forms_left = False
            except (ValueError, TypeError, RecursionError, httpx2.HTTPError) as error:
                raise _Nonsense(str(error)) from None
        return self._text_of(answer)

    def _text_of(self, answer: Any) -> str:
        """Return the text of an answer, which may be of any shape."""
        try:
            choice = answer.choices[0]
            message, finish = choice.message, choice.finish_reason
            text, refusal = message.content, getattr(message, "refusal", None)
        except (AttributeError, LookupError, TypeError):
            raise _Nonsense("no chat completion") from None
        if isinstance(text, list):  # in parts, as some servers have it
            text = "".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
        if not isinstance(text, str | None):
            raise _Nonsense("a reply that is no text")
        self._understood = True
        text = self._without_key(storable(text or ""))
        if finish == "length":
            raise written.refused(f"was cut off at {_REPLY_TOKENS} tokens", text)
        if finish == "content_filter":
            raise written.refused("was stopped by a filter of the server's", text)
        if not text.strip():
            said = self._without_key(printable(str(refusal)))[:200] if refusal else "no text at all"
            raise ReplyError(f"the model gives no reply: {said}")
        return text

    def _adapted(self, error: openai.APIError, sent: dict[str, Any]) -> bool:
        """Say whether a request can be put otherwise: newer models take other options.

        Args:
            error: what the server says.
            sent: the options that it refuses; another request may have changed them since.

        """
        if not isinstance(error, openai.BadRequestError):
            return False
        said = _said(error)
        if "max_completion_tokens" in said and "max_tokens" in sent:
            self._options.pop("max_tokens", None)
            self._options["max_completion_tokens"] = _REPLY_TOKENS
            return True
        if "temperature" in said and "temperature" in sent:
            if self._options.pop("temperature", None) is not None:
                log.warning("the server at %s takes no temperature: replies may vary", self._url)
            return True
        return False

    def _messages(self, readme: Message) -> list[dict[str, str]]:
        """Return the conversation; the README's text is put in last and holds no slots."""
        before, _, after = self._template.user.partition("{readme}")
        ask = self._template.questions[0].ask.replace("{max_tags}", str(self._max_tags))
        ask = ask.replace("{id}", json.dumps(readme.id, ensure_ascii=False))
        said = before.replace("{tags}", listed(self.vocabulary.tags))
        return [
            {"role": "system", "content": self._template.system},
            {"role": "user", "content": f"{said}{readme.text}{after}\n\n{ask}"},
        ]

    def _watch(self, text: str, id_: str, most: int) -> None:
        """Say once if a reply shows that the server has not heeded the schema."""
        if self._form == len(_FORMS) - 1:
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
            self._say("passes over the JSON schema")

    def _take_next_form(self, form: int) -> None:
        """Send the schema in another way from now on, unless another request has seen to it."""
        self._form = max(self._form, form + 1)
        if self._form == len(_FORMS) - 1:
            self._say("takes no JSON schema")

    def _say(self, what: str) -> None:
        if not self._said:
            log.warning(
                "the server at %s %s: its replies are read leniently and checked all the same",
                self._url,
                what,
            )
        self._said = True

    def _told(self, error: openai.APIError) -> EndpointError | ServerError:
        """Return what an error of the client's means: for all READMEs, or for this one."""
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return EndpointError(
                f"the server at {self._url} refuses the key: set {KEY_VARIABLE} to one of its own"
            )
        if isinstance(error, openai.NotFoundError) or _is_about_the_model(error):
            return EndpointError(
                f"the server at {self._url} knows no model {self._model!r}, or no chat "
                "completions there: check --model, and that --endpoint ends as its API does, "
                "often in /v1"
            )
        if isinstance(error, openai.APITimeoutError):
            return self._late()
        if isinstance(error, openai.APIConnectionError):
            if isinstance(error.__cause__, httpx2.ProxyError):
                return EndpointError(
                    f"the proxy that the environment names does not lead to {self._url}: "
                    f"{printable(str(error.__cause__))}; correct HTTP_PROXY or HTTPS_PROXY, or "
                    "list the server in NO_PROXY"
                )
            if isinstance(error.__cause__, httpx2.ConnectError):
                return EndpointError(
                    f"nobody answers at {self._url}: {error.__cause__}; is the server running?"
                )
            return ServerError(f"the connection broke off, {RETRIES + 1} times")
        status = getattr(error, "status_code", "an error")
        reason = self._without_key(" ".join(_said(error).split()))[:200]
        said = f"the server at {self._url} answers {status}: {printable(reason)}"
        if status in (402, 405, 407) or 300 <= int(status) < 400 or "insufficient_quota" in reason:
            return EndpointError(f"{said}; no README can be answered so")
        return ServerError(said)

    def _late(self) -> ServerError:
        return ServerError(
            f"the server at {self._url} gives no whole answer within "
            f"{README_TIMEOUTS * TIMEOUT:.0f} s, retries included"
        )

    def _meaning(self, nonsense: _Nonsense) -> EndpointError | ServerError:
        """Return what such an answer means: a slip, or that no other will ever come."""
        reason = self._without_key(" ".join(str(nonsense).split()))[:120]
        said = f"the answer is no chat completion ({reason})"
        if self._understood:
            return ServerError(said)
        return EndpointError(
            f"{self._url} does not speak as a chat completions server does: {said}; check that "
            "--endpoint ends as its API does, often in /v1"
        )

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


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


def _said(error: openai.APIError) -> str:
    """Return what a server says of an error, as far as it is worth reading."""
    return str(error)[:_SEARCHED]


def _is_about_the_schema(error: openai.APIError) -> bool:
    said = _said(error)
    return isinstance(error, openai.APIStatusError) and any(
        word in said for word in ("response_format", "json_schema", "schema")
    )


def _is_about_the_model(error: openai.APIError) -> bool:
    return isinstance(error, openai.BadRequestError) and bool(_NO_MODEL.search(_said(error)))


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise UsageError("--endpoint is no address such as http://host:8000/v1")
    if parts.query or parts.fragment:
        raise UsageError(f"--endpoint {_shown(url)}: leave out what follows ? or #")


def _check_key(key: str) -> None:
    if key and (not key.isascii() or not key.isprintable() or " " in key):
        raise UsageError("the API key holds characters that no key has, such as blanks")


def _shown(url: str) -> str:
    """Return an address without a user and password."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=netloc, query="", fragment=""))
