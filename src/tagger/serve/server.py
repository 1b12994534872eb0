"""Uvicorn, from a socket to an end in order."""

import asyncio
import contextlib
import errno
import logging
import os
import resource
import socket

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from tagger._util.http import HttpServer
from tagger.errors import UsageError
from tagger.serve.failures import busy

IDLE_SECONDS = 30
"""How long a connection stays open on which no request comes, or the head of one does not end."""

SEND_SECONDS = 30
"""How long a client may take to read what is sent to it, until its connection is cut."""

MOST_CONNECTIONS = 1024
"""Connections at a time; requests on more are answered 503."""

_MOST_FILES = 4096
_OTHER_FILES = 64
"""Files that are open besides connections, those that are being refused among them."""

BACKLOG = 512
"""Connections that wait to be accepted."""


def most_connections() -> int:
    """Return how many connections the operating system's limit of open files leaves room for.

    The limit is raised as far as the system lets a process do so itself.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    if soft == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    # Half of them: a connection that is refused is open too until its request has come.
    return max(1, min(MOST_CONNECTIONS, (soft - _OTHER_FILES) // 2))


def listen(host: str, port: int) -> socket.socket:
    """Return a socket at an address; port 0 takes any that is free.

    Raises:
        UsageError: the address cannot be had.

    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError, OverflowError) as error:
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number and number > 0 else error
        remedy = ": choose another --port" if number == errno.EADDRINUSE else ""
        raise UsageError(f"cannot listen on {host} port {port}: {reason}{remedy}") from error


class Server:
    """Serves an application until it is stopped, and then answers what it has accepted.

    Args:
        at: the socket.

    """

    def __init__(self, at: socket.socket) -> None:
        self._at = at
        self._running: HttpServer | None = None
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
            ModelError: what `fail` was given.

        """
        # What Uvicorn has to say is said by the application, in one line each.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        asyncio_log = logging.getLogger("asyncio")
        in_a_line = _InALine()
        asyncio_log.addFilter(in_a_line)
        self._running = HttpServer(
            uvicorn.Config(
                app,
                http=_Protocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=IDLE_SECONDS,
                backlog=BACKLOG,
            )
        )
        try:
            self._running.run(sockets=[self._at])
        finally:
            asyncio_log.removeFilter(in_a_line)
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


class _InALine(logging.Filter):
    """Takes the tracebacks from what asyncio has to say, and leaves out what it has just said.

    When there are too many open files, it says so for every connection, again and again.
    """

    _last = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info:
            error = record.exc_info[1]
            first = record.getMessage().partition("\n")[0]
            record.msg, record.args = f"{first}: {type(error).__name__}: {error}", ()
            record.exc_info = record.exc_text = None
        said, self._last = self._last, record.getMessage()
        return said != self._last


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the request of a connection that is one too many."""
    refusal = busy("there are too many connections: ask again later", 1.0, status=503)
    refusal.headers["Connection"] = "close"
    await refusal.response(scope["path"])(scope, receive, send)


class _Protocol(H11Protocol):
    """Closes connections on which no request has come, or no answer is read, for a while.

    Uvicorn does so between requests, but waits for ever for the first, for the end of the head of
    any, and for clients to read their answers.
    """

    _idle: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        most = most_connections()
        if len(self.connections) > 2 * most:
            transport.abort()  # without waiting for a request to answer 503 to
        elif len(self.connections) > most:
            self.app = _refuse
        # Paused as soon as the system takes no more, and not only at 64 KiB.
        transport.set_write_buffer_limits(high=0)
        self._wait()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._sending = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_sending()

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._stop_sending()
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
