"""An HTTP client for servers that nobody vouches for: bounded answers, in bounded time, from them.

The environment's proxies (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) are honoured, but not for
addresses of this machine itself, which no proxy could reach.
"""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import httpx2
import openai

from tagger._util.text import printable
from tagger.errors import EndpointError


def bounded_client(url: str, seconds: float, most: int) -> httpx2.AsyncClient:
    """Return a client for one server.

    No compressed answers are asked for: their size is not known before they are unpacked.

    Args:
        url: the server's address; what redirects to another host is refused.
        seconds: for a whole exchange: connecting, sending, headers, body and redirects.
        most: bytes of an answer's body.

    Raises:
        EndpointError: the environment names a proxy that cannot be used.

    """
    home = httpx2.URL(url)
    try:
        return _Bounded(
            home,
            seconds,
            most,
            verify=_certificates(),
            trust_env=not _is_this_machine(home.host),
            headers={"Accept-Encoding": "identity"},
            max_redirects=3,
        )
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        raise EndpointError(
            f"the proxy that the environment names cannot be used: {printable(str(error))}; "
            "correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or list the server in NO_PROXY"
        ) from error


class _Bounded(openai.DefaultAsyncHttpxClient):
    def __init__(self, home: httpx2.URL, seconds: float, most: int, **options: Any) -> None:
        super().__init__(
            event_hooks={"request": [self._stay], "response": [self._bound]}, **options
        )
        self._home, self._seconds, self._most = home, seconds, most

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        # httpx's own time-outs start again with every byte, so that a server that drips never
        # meets one.
        try:
            async with asyncio.timeout(self._seconds):
                return await super().send(request, **options)
        except TimeoutError as error:
            raise httpx2.ReadTimeout("the exchange takes too long", request=request) from error

    async def _stay(self, request: httpx2.Request) -> None:
        """Refuse to send anything to another server. Called for every redirect, too."""
        if _origin(request.url) != _origin(self._home):
            raise EndpointError(
                f"the server at {_public(self._home)} redirects to {_public(request.url)}: "
                "use that address as the endpoint if you trust it"
            )

    async def _bound(self, response: httpx2.Response) -> None:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise httpx2.RemoteProtocolError("a compressed answer, which was not asked for")
        response.stream = _Stream(response.stream, self._most)


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, stream: Any, most: int) -> None:
        self._stream, self._most = stream, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in self._stream:
            read += len(chunk)
            if read > self._most:
                raise httpx2.RemoteProtocolError("an answer without end")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


@cache
def _certificates() -> Any:
    """Return what servers are verified against; reading it takes longer than a request."""
    return httpx2.create_ssl_context()


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _public(url: httpx2.URL) -> str:
    """Return an address without user, password and path."""
    return printable(f"{url.scheme}://{url.netloc.decode()}")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
