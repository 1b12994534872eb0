"""A server that speaks OpenAI's chat completions, and what its answers and errors mean.

Waiting, retrying and back-off are the official client's. How a JSON schema is sent, and which
options are taken, differs between servers: the first requests find that out.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx2
import openai

from tagger._util.text import printable, storable
from tagger.errors import EndpointError, ReplyError, ServerError, UsageError
from tagger.methods.endpoint.bounded import bounded_client
from tagger.methods.written import reply as written

RETRIES = 4
TIMEOUT = 120.0
"""Seconds for one exchange as a whole: connecting, sending, and all of the answer."""

README_TIMEOUTS = 2
"""How many of these a README may take with everything that is tried for it, waits included."""

_REPLY_TOKENS = 256

ANSWER_BYTES = 4 * 1024 * 1024
"""More than any reply needs: a longer answer is not read to its end."""

_SEARCHED = 4096
"""Characters of an error's text that are looked at."""

_NO_MODEL = re.compile(r"model.{0,80}(not found|does not exist|unknown|not exist)", re.I | re.S)

_TRIES = 2
"""How often an answer that cannot be read is asked for again."""

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

Messages = list[dict[str, str]]

log = logging.getLogger(__name__)


class _Nonsense(Exception):  # noqa: N818 (it never leaves this module)
    """An answer that is no chat completion."""


class Server:
    """One server and one of its models.

    Args:
        url: where its API begins, usually up to `/v1`.
        model: what the server calls the model.
        key: its API key, if it asks for one.

    Attributes:
        url: the address without user and password.
        model: what the server calls the model.

    Raises:
        UsageError: the address or the key cannot be one.

    """

    def __init__(self, url: str, model: str, key: str) -> None:
        _check_address(url)
        _check_key(key)
        self.url, self.model = _public(url), model
        self._address, self._key = url, key
        self._form = 0
        self._options: dict[str, Any] = {"temperature": 0.0, "max_tokens": _REPLY_TOKENS}
        self._forms_left = True
        self._said = False
        self._understood = False

    def client(self) -> openai.AsyncOpenAI:
        """Return a client, an asynchronous context manager.

        Raises:
            EndpointError: the environment names a proxy that cannot be used.

        """
        return openai.AsyncOpenAI(
            base_url=self._address,
            api_key=self._key or "none",
            max_retries=RETRIES,
            timeout=TIMEOUT,
            http_client=bounded_client(self._address, TIMEOUT, ANSWER_BYTES),
        )

    async def check(self) -> None:
        """Make sure that somebody answers.

        Raises:
            EndpointError: nobody does, or the key is refused.

        """
        # Only what rules out every README counts: not every server lists its models, and one that
        # is busy or confused here may answer later. The first README tells.
        try:
            async with self.client() as client, asyncio.timeout(TIMEOUT):
                await client.models.list()
        except (
            openai.APIConnectionError,
            openai.AuthenticationError,
            openai.PermissionDeniedError,
        ) as error:
            if isinstance(verdict := self._meaning_of_error(error), EndpointError):
                raise verdict from None
        except EndpointError:
            raise
        except Exception:  # the client raises anything at an answer of an odd shape
            log.debug("the list of models cannot be read", exc_info=True)

    async def complete(
        self, client: openai.AsyncOpenAI, messages: Messages, schema: dict[str, Any]
    ) -> str:
        """Return the text of a reply, asked for again where an answer was cut or mixed up.

        Args:
            client: a client of this server.
            messages: the conversation.
            schema: what the reply is to obey; some servers ignore it.

        Raises:
            ReplyError: the reply is cut off, empty or was stopped.
            ServerError: the server fails at this one.
            EndpointError: it can answer no request at all.

        """
        for _ in range(_TRIES):
            try:
                return await self._ask(client, messages, schema)
            except _Nonsense:
                log.debug("an answer cannot be read", exc_info=True)
        try:
            return await self._ask(client, messages, schema)
        except _Nonsense as nonsense:
            raise self._meaning(nonsense) from nonsense

    async def _ask(
        self, client: openai.AsyncOpenAI, messages: Messages, schema: dict[str, Any]
    ) -> str:
        """Return the text of a reply."""
        while True:
            form, sent = self._form, dict(self._options)
            try:
                # Until a way to send the schema is known to work, errors may be about it, and
                # servers that cannot take it answer 500 as well as 400.
                answer = await client.with_options(
                    max_retries=RETRIES if self._understood or not self._forms_left else 0
                ).chat.completions.create(
                    model=self.model,
                    messages=messages,  # type: ignore[arg-type]
                    **sent,
                    **_FORMS[form](schema),
                )
                break
            except openai.APIResponseValidationError as error:
                raise _Nonsense(str(error)) from None
            except openai.APIError as error:
                if self._adapt(error, sent):
                    continue
                if _is_about_the_schema(error) and form + 1 < len(_FORMS):
                    self._take_next_form(form)
                elif self._understood or not self._forms_left:
                    raise self._meaning_of_error(error) from None
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
            raise written.unusable(f"was cut off at {_REPLY_TOKENS} tokens", text)
        if finish == "content_filter":
            raise written.unusable("was stopped by a filter of the server's", text)
        if not text.strip():
            said = self._without_key(printable(str(refusal)))[:200] if refusal else "no text at all"
            raise ReplyError(f"the model gives no reply: {said}")
        return text

    def _adapt(self, error: openai.APIError, sent: dict[str, Any]) -> bool:
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
                log.warning("the server at %s takes no temperature: replies may vary", self.url)
            return True
        return False

    @property
    def takes_schemas(self) -> bool:
        """Whether the server has not refused every way to send a schema."""
        return self._form < len(_FORMS) - 1

    def ignores_the_schema(self) -> None:
        """Say once that a reply does not obey the schema."""
        self._say("ignores the JSON schema")

    def late(self) -> ServerError:
        """Return the error for an answer that takes too long."""
        return ServerError(
            f"the server at {self.url} gives no complete answer within "
            f"{README_TIMEOUTS * TIMEOUT:.0f} s, retries included"
        )

    def _take_next_form(self, form: int) -> None:
        """Send the schema in another way from now on, unless another request has seen to it."""
        self._form = max(self._form, form + 1)
        if self._form == len(_FORMS) - 1:
            self._say("takes no JSON schema")

    def _say(self, what: str) -> None:
        if not self._said:
            log.warning(
                "the server at %s %s: its replies are read leniently and checked all the same",
                self.url,
                what,
            )
        self._said = True

    def _meaning_of_error(self, error: openai.APIError) -> EndpointError | ServerError:
        """Return what an error of the client's means: for all READMEs, or for this one."""
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return EndpointError(
                f"the server at {self.url} refuses the API key: set TAGGER_API_KEY"
            )
        if isinstance(error, openai.NotFoundError) or _is_about_the_model(error):
            return EndpointError(
                f"the server at {self.url} has no model {self.model!r}, or no chat "
                "completions there: check the name of the model, and that the address ends as its "
                "API does, often in /v1"
            )
        if isinstance(error, openai.APITimeoutError):
            return self.late()
        if isinstance(error, openai.APIConnectionError):
            if isinstance(error.__cause__, httpx2.ProxyError):
                return EndpointError(
                    f"the proxy that the environment names does not reach {self.url}: "
                    f"{printable(str(error.__cause__))}; correct HTTP_PROXY or HTTPS_PROXY, or "
                    "list the server in NO_PROXY"
                )
            if isinstance(error.__cause__, httpx2.ConnectError):
                return EndpointError(
                    f"cannot connect to {self.url}: {error.__cause__}; is the server running?"
                )
            return ServerError(f"the connection broke off, {RETRIES + 1} times")
        status = getattr(error, "status_code", "an error")
        reason = self._without_key(" ".join(_said(error).split()))[:200]
        said = f"the server at {self.url} answers {status}: {printable(reason)}"
        if status in (402, 405, 407) or 300 <= int(status) < 400 or "insufficient_quota" in reason:
            return EndpointError(f"{said}; no README can be answered so")
        return ServerError(said)

    def _meaning(self, nonsense: _Nonsense) -> EndpointError | ServerError:
        """Return what such an answer means: a slip, or that no other will ever come."""
        reason = self._without_key(" ".join(str(nonsense).split()))[:120]
        said = f"the answer is no chat completion ({reason})"
        if self._understood:
            return ServerError(said)
        return EndpointError(
            f"{self.url} does not speak as a chat completions server does: {said}; check that "
            "the address ends as its API does, often in /v1"
        )

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


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
        raise UsageError("the endpoint is not an address such as http://host:8000/v1")
    if parts.query or parts.fragment:
        raise UsageError(f"the endpoint {_public(url)}: leave out what follows ? or #")


def _check_key(key: str) -> None:
    if key and (not key.isascii() or not key.isprintable() or " " in key):
        raise UsageError("the API key holds characters that no key has, such as blanks")


def _public(url: str) -> str:
    """Return an address without a user and password."""
    parts = urlsplit(url)
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=netloc, query="", fragment=""))
