"""The page of a review, served to the browsers of this machine's user and to nobody else.

The address that is shown holds a token, which the first request exchanges for a cookie. What any
other page, program or user sends is refused: `Guard` says how.
"""

import secrets
import socket
import threading
from collections.abc import Callable
from importlib.resources import files
from importlib.resources.abc import Traversable

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tagger._util.http import HttpServer
from tagger.errors import UsageError
from tagger.readme.readme import Readme
from tagger.review.api import Api
from tagger.review.render import html_of
from tagger.review.review import Review

HOST = "127.0.0.1"

_NAMES = {HOST, "localhost"}
"""What browsers may call this machine: any other name could be one that an attacker's name server
gives it."""

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

_ENTER = (
    '<!doctype html><title>tagger review</title><link rel="icon" href="icon.svg">'
    '<meta http-equiv="refresh" content="0; url=/">'
)
"""Goes on to the page. A redirect would not do: browsers send a strict cookie only where one of our
own pages leads, and the address may have been opened from a mail or a chat."""

_FORBIDDEN = "Open the address that tagger review has printed, with its token.\n"


class Server:
    """Serves the page of a review until it is stopped.

    Args:
        review: what is reviewed; it stays open.
        at: the socket, as `bound` returns it.

    """

    def __init__(self, review: Review, at: socket.socket) -> None:
        self._at = at
        self._port = at.getsockname()[1]
        self._token, self._once = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._running = HttpServer(
            uvicorn.Config(
                application(review, self._token, self._port, once=self._once),
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=1,
            )
        )

    @property
    def preparing(self) -> bool:
        """Whether there is nothing to end in order."""
        return False

    def stop(self) -> None:
        """Let `serve` end, also if it has not begun."""
        self._running.should_exit = True

    def serve(self, ready: Callable[[str, str], None]) -> None:
        """Serve the page; returns when that was stopped.

        Args:
            ready: hears the address, once the page can be opened, and one that opens it only once:
                for programs whose arguments every user of the machine can see.

        """
        self._at.listen()
        # The process that renders takes half a second to start: until a browser has, it runs.
        threading.Thread(target=html_of, args=(Readme("", "-"),), daemon=True).start()
        address = f"http://{HOST}:{self._port}/?token="
        addresses = (address + self._token, address + self._once)
        threading.Thread(target=ready, args=addresses, daemon=True).start()
        self._running.run([self._at])


def application(review: Review, token: str, port: int, *, once: str | None = None) -> Starlette:
    """Return the page and its API, for those who have the token; see `Guard`."""
    routes = [*map(_file, files(__package__).joinpath("page").iterdir()), *Api(review).routes()]
    guard = Middleware(Guard, token, f"tagger-review-{port}", once)
    return Starlette(routes=routes, middleware=[guard])


class Guard:
    """Lets through only what the page itself asks for.

    Refused are requests without the token (as a cookie or, for the page, in the address), under
    another name than this machine's (as after DNS rebinding), and from other origins. No other
    origin can read an answer, since no header allows it.

    Args:
        app: what answers the rest.
        token: what lets a browser in.
        cookie: the name of the cookie that keeps it, different for each port: cookies are shared
            by all of a machine's ports.
        once: another token, which lets in only the first browser that has it.

    """

    def __init__(self, app: ASGIApp, token: str, cookie: str, once: str | None) -> None:
        self._app = app
        self._token = token
        self._cookie = cookie
        self._once = once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
            await send(message)

        await (self._refusal(Request(scope)) or self._app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        """Return the answer to what is not let through; None for what is."""
        host = request.headers.get("host", "")
        local = host.rpartition(":")[0] in _NAMES
        foreign = request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        origin = request.headers.get("origin")
        if origin is None:
            foreign = foreign or request.method != "GET"
        else:
            foreign = foreign or origin != f"http://{host}"
        if local and request.method == "GET" and request.url.path == "/":
            # The address may have been opened from anywhere, such as a terminal in a browser.
            foreign = False
            given = request.query_params.get("token", "")
            if self._is_token(given) or self._is_first(given):
                answer = HTMLResponse(_ENTER)
                answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict")
                return answer
        if not local or foreign or not self._is_token(request.cookies.get(self._cookie, "")):
            return PlainTextResponse(_FORBIDDEN, status_code=403)
        return None

    def _is_token(self, text: str) -> bool:
        return _same(text, self._token)

    def _is_first(self, text: str) -> bool:
        """Return whether this is the token that lets in once, which it then does no more."""
        if self._once is None or not _same(text, self._once):
            return False
        self._once = None
        return True


def _same(text: str, token: str) -> bool:
    """Compare in a time that does not tell how much of a guess is right."""
    return secrets.compare_digest(text.encode(), token.encode())


def bound(port: int) -> socket.socket:
    """Return a socket of this machine's own at a port; 0 takes any that is free.

    Raises:
        UsageError: the port is in use, or reserved.

    """
    # Named, since only then asyncio sends answers at once: else each waits 40 ms for an ACK.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {port} cannot be used ({error.strerror}): choose another, or let tagger choose"
        ) from error
    return listener


def _file(file: Traversable) -> Route:
    """Return the route of one of the page's files."""
    name, content = file.name, file.read_bytes()
    media = f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8"

    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=media)

    return Route("/" if name == "index.html" else f"/{name}", endpoint)
