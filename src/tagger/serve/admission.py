"""Admission control: middleware that every request passes before the application sees it.

It checks the key, the name by which the server was called, and the size of the body and the time it
takes, and drops requests whose clients have disconnected: whatever does not depend on the path.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import re
import time
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tagger.serve.body import check
from tagger.serve.failures import Refusal
from tagger.serve.metrics import Metrics

OPEN = frozenset({"/healthz", "/readyz"})
"""Paths without a key: they are for whoever keeps the server running, and reveal nothing."""

CLIENT_DISCONNECTED = 499
"""The status under which a request counts whose client has disconnected."""

_DRAINED = 16
"""Bodies are read to this many times the allowed size, so that their clients get the refusal."""

_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+))(?::\d{1,5})?", re.ASCII)

LOOPBACK = "localhost, 127.0.0.0/8 or ::1"
"""The names of this machine for itself, as messages list them."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """How much a client may send.

    Attributes:
        body: bytes of a body.
        body_seconds: how long a body may take to arrive.

    """

    body: int = 1024 * 1024
    body_seconds: float = 10.0


class _Disconnected(Exception):  # noqa: N818 (nobody's error)
    """The client has disconnected."""


class AdmissionControl:
    """Middleware that refuses requests, or lets them through to an ASGI application.

    Args:
        app: the application.
        metrics: where requests are counted.
        paths: the paths by whose names they are counted; all others are one.
        key: what a client must send as `Authorization: Bearer`; None where no key is needed.
        limits: how much a client may send.

    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        paths: Set[str],
        key: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths
        self._key = None if key is None else _digest(key.encode())
        self._limits = limits or Limits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.monotonic()
        status = CLIENT_DISCONNECTED

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._admit(scope, receive, watched)
        except Refusal as refusal:
            await refusal.response(scope["path"])(scope, receive, watched)
        except _Disconnected:
            pass
        except Exception as error:
            log.error("internal error: %s: %s", type(error).__name__, error)
            log.debug("the error in full:", exc_info=error)
        finally:
            path = scope["path"] if scope["path"] in self._paths else "other"
            self._metrics.request(path, status, time.monotonic() - start)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, once its body is here. Raises `Refusal` or `_Disconnected`."""
        headers = dict(scope["headers"])
        refusal = self._refusal(scope["path"], headers) or self._too_large(headers)
        if refusal is not None and headers.get(b"expect", b"").lower() == b"100-continue":
            raise refusal  # before the body: this client asks whether it is wanted
        # A body that is not wanted is taken all the same, within bounds: many clients read no
        # answer before they have sent everything.
        body = await self._body(receive, keep=refusal is None)
        if refusal is not None:
            raise refusal
        if scope["path"] in self._paths:
            content_type = headers.get(b"content-type", b"").decode("latin-1")
            check(body, content_type)

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await _unless_disconnected(self._app(scope, replay, send), receive)

    def _refusal(self, path: str, headers: dict[bytes, bytes]) -> Refusal | None:
        """Return why a request is not let through, if it is not."""
        if path in OPEN:
            return None
        if self._key is None:
            host = _host(headers.get(b"host", b"").decode("latin-1"))
            if not is_loopback(host):
                # A page in a browser could have its own name lead here (DNS rebinding).
                return Refusal(
                    403, f"without TAGGER_SERVE_KEY only calls to {LOOPBACK} are answered"
                )
            return None
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        right = hmac.compare_digest(_digest(given.strip()), self._key)
        if scheme.lower() != b"bearer" or not right:
            return Refusal(
                401,
                "the key is missing or wrong: send it as Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )
        return None

    def _too_large(self, headers: dict[bytes, bytes]) -> Refusal | None:
        """Return why a body of the declared length is refused, if it is."""
        declared = headers.get(b"content-length", b"0")
        fits = len(declared) < 20 and int(declared) <= self._limits.body
        return None if fits else self._oversized()

    def _oversized(self) -> Refusal:
        most = f"{self._limits.body:,} bytes are the maximum"
        return Refusal(413, f"the body is too large: {most}", {"Connection": "close"})

    async def _body(self, receive: Receive, *, keep: bool) -> bytes:
        """Return the body of a request. Raises `Refusal` or `_Disconnected`."""
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                more = True
                while more and size <= _DRAINED * self._limits.body:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _Disconnected
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    if keep and size <= self._limits.body:
                        chunks.append(chunk)
                    else:
                        chunks.clear()
                    more = message.get("more_body", False)
        except TimeoutError:
            if size <= self._limits.body:
                seconds = self._limits.body_seconds
                raise Refusal(408, f"the body took longer than {seconds:g} s") from None
        if size > self._limits.body and keep:
            raise self._oversized()
        return b"".join(chunks)


async def _unless_disconnected(answer: Any, receive: Receive) -> None:
    """Wait for an answer; drop it when the client disconnects. Raises `_Disconnected`."""
    answering = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(_disconnection(receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        answering.cancel()  # unless it is done
    try:
        await answering
    except asyncio.CancelledError:
        raise _Disconnected from None


async def _disconnection(receive: Receive) -> None:
    """Wait until the client disconnects, or has its answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


def is_loopback(host: str) -> bool:
    """Say whether a name or an address is this machine's for itself."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(header: str) -> str:
    """Return the name in a Host header, without its port; nothing if it is malformed."""
    found = _HOST.fullmatch(header)
    return (found[1] or found[2]).lower() if found else ""


def _digest(key: bytes) -> bytes:
    """Return a digest, which takes as long to compare whatever the length of the key."""
    return hashlib.sha256(key).digest()
