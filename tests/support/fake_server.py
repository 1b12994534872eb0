"""A server that speaks OpenAI's chat completions, on loopback, with faults on purpose."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

JSON = "application/json"

Answer = tuple[int, str, str]
"""Status, content type and body."""


def completion(text: str, finish: str = "stop") -> Answer:
    """A reply as chat completions have it."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text},
    }
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    return 200, JSON, json.dumps(body)


def told(status: int, message: str = "no") -> Answer:
    """An error as such servers tell it."""
    return status, JSON, json.dumps({"error": {"message": message}})


def schema_of(request: dict[str, Any]) -> dict[str, Any] | None:
    """The JSON schema that goes with a request, if any."""
    format_ = request.get("response_format")
    return format_.get("json_schema", format_)["schema"] if format_ else None


def obedient(request: dict[str, Any]) -> Answer:
    """Answer as the schema asks, with the first tags of the list."""
    schema = schema_of(request)
    assert schema is not None
    properties = schema["properties"]
    names = properties["tags"]["items"]["enum"][: properties["tags"]["maxItems"]]
    reply = {"id": properties["id"]["const"], "tags": names}
    return completion(json.dumps(reply, ensure_ascii=False))


@dataclass
class Server:
    """What a test sees of the server.

    Attributes:
        url: where its API begins.
        answer: makes an answer of a request; may be changed by the test.
        requests: the bodies of what was asked.
        keys: the keys that came with them.
        paths: what they were asked of.
        models: the answer to a question for its models.
        headers: what goes along with every answer.

    """

    url: str = ""
    answer: Callable[[dict[str, Any]], Answer] = obedient
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    models: Answer = (200, JSON, '{"object": "list", "data": []}')
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server until the block ends."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(state.models)

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with state.lock:
                state.requests.append(request)
                state.paths.append(self.path)
                state.keys.append(self.headers.get("Authorization", ""))
            self._send(state.answer(request))

        def _send(self, answer: Answer) -> None:
            status, kind, body = answer
            content = body.encode()
            # A negative status sends the body half and hangs up.
            self.send_response(abs(status))
            self.send_header("Content-Type", kind)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content if status > 0 else content[: len(content) // 2])
            self.close_connection = status < 0

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


STUCK: dict[str, tuple[bytes, bytes]] = {
    "silent": (b"", b""),
    "dripping headers": (b"HTTP/1.1 200 OK\r\nX-Never-Ends: ", b"x"),
    "dripping body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" "),
}
"""Servers that never come to an end: what each says first, and then again and again."""

_NO_MODELS = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class StuckServer:
    """A server that never comes to an end.

    Attributes:
        url: where its API begins.
        asked: set when it holds a request.

    """

    url: str
    asked: threading.Event = field(default_factory=threading.Event)


@contextmanager
def stuck(how: str, *, lists_models: bool = True) -> Iterator[StuckServer]:
    """Run a server of `STUCK` until the block ends; it may answer for its models, all the same."""
    first, again = STUCK[how]
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    state = StuckServer(f"http://127.0.0.1:{listener.getsockname()[1]}/v1")

    def hold(connection: socket.socket) -> None:
        with connection:
            try:
                if connection.recv(65536).startswith(b"GET") and lists_models:
                    connection.sendall(_NO_MODELS)
                    return
                connection.sendall(first)
                state.asked.set()
                while not ended.wait(0.05):
                    connection.sendall(again)
            except OSError:  # the client has gone
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=hold, args=(connection,)))
            threads[-1].start()

    threads = [threading.Thread(target=accept)]
    threads[0].start()
    try:
        yield state
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in threads:
            thread.join()
