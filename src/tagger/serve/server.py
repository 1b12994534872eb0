"""Uvicorn, from a socket to an end in order."""

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from tagger.errors import UsageError

IDLE_SECONDS = 30
"""How long a connection stays open on which no request comes, or the head of one does not end."""

MOST_CONNECTIONS = 1024
"""Connections at a time; requests on more are answered 503."""

BACKLOG = 512
"""Connections that wait to be accepted."""


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Return a socket at an address; port 0 takes any that is free.

    Raises:
        UsageError: the address cannot be had.

    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot listen on {host} port {port}: {reason}") from error


class Server:
    """Serves an application until it is stopped, and then answers what it has accepted.

    Args:
        at: the socket.

    """

    def __init__(self, at: socket.socket) -> None:
        self._at = at
        self._running: _Uvicorn | None = None
        self._failure: BaseException | None = None

    @property
    def address(self) -> str:
        """The URL that the server answers at."""
        host, port = self._at.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def preparing(self) -> bool:
        """Whether nothing can have been accepted yet."""
        return self._running is None

    def serve(self, app: ASGIApp) -> None:
        """Serve; returns when the server was stopped and everything accepted is answered.

        Raises:
            ModelError: what `fail` was told.

        """
        # What Uvicorn has to say is said by the application, in one line each.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._running = _Uvicorn(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=IDLE_SECONDS,
                limit_concurrency=MOST_CONNECTIONS,
                backlog=BACKLOG,
            )
        )
        self._running.run(sockets=[self._at])
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Accept no more requests."""
        if self._running is not None:
            self._running.should_exit = True

    def fail(self, error: BaseException) -> None:
        """Stop, and have `serve` raise an error."""
        self._failure = error
        self.stop()


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """Closes connections on which no request has come for a while.

    Uvicorn does so between requests, but waits for ever for the first, and for the end of the head
    of any.
    """

    _idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def _wait(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self.loop.call_later(IDLE_SECONDS, self._close)

    def _close(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()
