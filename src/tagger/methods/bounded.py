"""An HTTP client for servers that nobody vouches for: bounded answers in bounded time."""

import time
from collections.abc import Iterator
from typing import Any

import httpx2
import openai


def bounded_client(seconds: float, most: int) -> Any:
    """Return a client whose answers end after so many seconds or bytes.

    A time-out counts from byte to byte, so that a server that drips would never end one; and a
    compressed answer has no size that is known before it is unpacked, so none is asked for.

    Args:
        seconds: for an answer as a whole.
        most: bytes of an answer.

    """
    return openai.DefaultHttpxClient(
        transport=_Bounded(seconds, most), headers={"Accept-Encoding": "identity"}
    )


class _Bounded(httpx2.HTTPTransport):
    def __init__(self, seconds: float, most: int) -> None:
        super().__init__()
        self._seconds, self._most = seconds, most

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        response = super().handle_request(request)
        if response.headers.get("Content-Encoding", "identity") != "identity":
            response.close()
            raise httpx2.RemoteProtocolError("a compressed answer, which was not asked for")
        stream: Any = response.stream
        response.stream = _Stream(stream, self._seconds, self._most)
        return response


class _Stream(httpx2.SyncByteStream):
    def __init__(self, stream: Any, seconds: float, most: int) -> None:
        self._stream, self._seconds, self._most = stream, seconds, most

    def __iter__(self) -> Iterator[bytes]:
        read, end = 0, time.monotonic() + self._seconds
        for chunk in self._stream:
            read += len(chunk)
            if read > self._most:
                raise httpx2.RemoteProtocolError("an answer without end")
            if time.monotonic() > end:
                raise httpx2.ReadTimeout("an answer that does not come to its end")
            yield chunk

    def close(self) -> None:
        self._stream.close()
