"""`tagger serve` in this process, on loopback, with a tiny model."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from support import tiny
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.models.tokenizer import ChatTokenizer
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.serve.app import application
from tagger.serve.server import Server, listen
from tagger.vocabulary import Vocabulary

TAGS = ["http", "http-client", "game", "game-engine ", "cli", "web server"]
CONTEXT = 65_536

WORDS = tuple(f"Queue {number:03d}: Tickets routed to queue {number}" for number in range(256))
"""What the tokenizer of the tests should have few tokens for: attention is quadratic."""

PATIENCE = 60.0
"""Seconds for anything to happen on a busy machine."""


def model() -> LanguageModel:
    """A tiny model with a long context."""
    network = tiny.network(max_position_embeddings=CONTEXT)
    return tiny.model_of(network, "random", ChatTokenizer(tiny.tokenizer(WORDS, 500)))


def rank() -> Rank:
    """A method with the tiny model and a few tags."""
    return Rank(model(), Vocabulary.from_names(TAGS))


def get(url: str, **options: Any) -> httpx2.Response:
    """GET, without loading certificates first: that takes longer than the tiny model."""
    return httpx2.get(url, verify=False, timeout=PATIENCE, **options)


def post(url: str, **options: Any) -> httpx2.Response:
    """POST in the same way."""
    return httpx2.post(url, verify=False, timeout=PATIENCE, **options)


def raw(host: str, port: int, request: bytes) -> httpx2.Response:
    """Send bytes that need not be a whole request; the answer."""
    with socket.create_connection((host, port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        headers = dict(answer.getheaders())
        return httpx2.Response(answer.status, headers=headers, content=answer.read())


def readme(text: str) -> Readme:
    """A README as the server takes it."""
    return Readme.from_text(text, "README", "README.md")


def serve(rank: Rank) -> None:
    """Serve until the server ends by itself."""
    with listen("127.0.0.1", 0) as at:
        server = Server(at)
        server.serve(application(rank, Selection(), failed=server.fail))


@contextmanager
def starting(rank: Rank, **settings: Any) -> Iterator[str]:
    """Serve until the block ends; the address, where the model may not be loaded yet."""
    with listen("127.0.0.1", 0) as at:
        server = Server(at)
        app = application(rank, Selection(), failed=server.fail, **settings)
        thread = threading.Thread(target=server.serve, args=(app,))
        thread.start()
        try:
            wait_until(lambda: get(f"{server.address}/healthz").status_code == 200)
            yield server.address
        finally:
            server.stop()
            thread.join()


@contextmanager
def serving(rank: Rank, **settings: Any) -> Iterator[str]:
    """Serve until the block ends; the address."""
    with starting(rank, **settings) as address:
        wait_until(lambda: get(f"{address}/readyz").status_code == 200)
        yield address


def wait_until(holds: Any) -> None:
    """Wait until something holds that will hold in the end."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, "it does not come so far"
        time.sleep(0.01)
