"""What holds for every request: key, host, size and time of a body, clients that go away."""

import logging
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx2
import pytest

from support import serving
from support.messages import MESSAGES
from tagger.methods.rank.rank import Rank
from tagger.serve.admission import Limits
from tagger.serve.server import most_connections

README = {"readme": "A game."}
HEAD = b"POST /v1/tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
def guarded(server_rank: Rank, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a key that takes little."""
    limits = Limits(body=1000, body_seconds=0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TAGGER_HOME", str(tmp_path_factory.mktemp("guarded")))
        with serving.serving(server_rank, key="sesame", limits=limits) as address:
            yield address


def checked(response: httpx2.Response) -> int:
    MESSAGES.check(response.json()["detail"]["message"])
    return response.status_code


def connected(address: str) -> socket.socket:
    parts = urlsplit(address)
    assert parts.hostname
    assert parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=serving.PATIENCE)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize(
    "headers",
    [{}, bearer("sesam"), bearer("sesame2"), {"Authorization": "Basic sesame"}],
    ids=str,
)
def test_without_the_key_nothing_is_answered(guarded: str, headers: dict[str, str]) -> None:
    response = serving.post(f"{guarded}/v1/tag", json=README, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["detail"]["error_type"] == "authentication_error"
    for path in ("/metrics", "/docs", "/openapi.json", "/v1/tags", "/v1/models", "/nothing"):
        assert serving.get(guarded + path, headers=headers).status_code == 401


def test_with_the_key_everything_is_answered(guarded: str) -> None:
    assert serving.post(f"{guarded}/v1/tag", json=README, headers=bearer("sesame")).json()["tags"]
    response = serving.get(f"{guarded}/v1/tags", headers={"Authorization": "bearer  sesame"})
    assert response.status_code == 200


def test_whoever_keeps_the_server_running_needs_no_key(guarded: str) -> None:
    assert serving.get(f"{guarded}/healthz").json() == {"status": "ok"}
    assert serving.get(f"{guarded}/readyz").json() == {"status": "ready"}


def test_without_a_key_the_server_answers_to_no_other_name(server: httpx2.Client) -> None:
    assert checked(server.get("/v1/tags", headers={"Host": "evil.example:80"})) == 403
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8000", "127.0.0.2", "[::1]:8000"):
        assert server.get("/v1/tags", headers={"Host": host}).status_code == 200
    malformed = ("[::1].evil.example", "127.0.0.1/evil", "evil@127.0.0.1", "127.0.0.1:evil")
    for host in ("", "[::1", "localhost.evil.example", *malformed):
        assert server.get("/v1/tags", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("size", [1001, 100_000, 20_000_000])
def test_a_body_that_is_too_large(guarded: str, size: int) -> None:
    content = b"x" * size
    try:
        response = serving.post(f"{guarded}/v1/tag", content=content, headers=bearer("sesame"))
    except httpx2.TransportError:  # much too large: the server does not read on
        assert size > 16 * 1000
    else:
        assert response.status_code == 413


def test_a_body_whose_size_is_not_announced(guarded: str) -> None:
    response = serving.post(
        f"{guarded}/v1/tag", content=(b"x" * 100 for _ in range(11)), headers=bearer("sesame")
    )
    assert checked(response) == 413


def test_a_body_that_takes_too_long(guarded: str) -> None:
    with connected(guarded) as connection:
        connection.sendall(HEAD + b"Authorization: Bearer sesame\r\nContent-Length: 9\r\n\r\n{")
        assert connection.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_what_is_no_http(guarded: str) -> None:
    with connected(guarded) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_a_client_that_goes_away_leaves_nothing_behind(
    server_rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, go_on = threading.Event(), threading.Event()
    read = Rank.read

    def held(self: Rank, readmes: object) -> object:
        reading.set()
        go_on.wait(serving.PATIENCE)
        return read(self, readmes)  # type: ignore[arg-type]

    def waiting() -> float:
        text = serving.get(f"{address}/metrics").text
        (line,) = [line for line in text.split("\n") if line.startswith("tagger_waiting ")]
        return float(line.split()[1])

    monkeypatch.setattr(Rank, "read", held)
    body = b'{"readme": "A game."}'
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with serving.serving(server_rank) as address:
        clients = [connected(address) for _ in range(3)]
        for client in clients:
            client.sendall(request)
        assert reading.wait(serving.PATIENCE)
        serving.wait_until(lambda: waiting() == 3)
        for client in clients:
            client.close()
        serving.wait_until(lambda: waiting() == 1)  # nothing interrupts a pass
        go_on.set()
        serving.wait_until(lambda: waiting() == 0)
        assert serving.post(f"{address}/v1/tag", json=README).status_code == 200
        text = serving.get(f"{address}/metrics").text
        assert 'tagger_requests_total{path="/v1/tag",status="499"} 3.0' in text
        # The one whose pass had begun, and the last: the others were never read.
        assert "tagger_pass_readmes_count 2.0" in text


def test_an_internal_error_is_one_line(
    server_rank: Rank, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Rank, "read", lambda *_: 1 / 0)
    with serving.serving(server_rank) as address:
        response = serving.post(f"{address}/v1/tag", json=README)
        assert serving.get(f"{address}/healthz").status_code == 200
    assert checked(response) == 500
    assert "internal error: ZeroDivisionError: division by zero" in caplog.messages


def test_a_connection_without_a_request_is_closed(
    server_rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagger.serve.server.IDLE_SECONDS", 0.3)
    with (
        serving.serving(server_rank) as address,
        connected(address) as silent,
        connected(address) as dripping,
    ):
        dripping.sendall(b"GET /healthz HTTP/1.1\r\nX-Never-Ends: ")
        assert dripping.recv(1000) == b""
        assert silent.recv(1000) == b""


def test_a_client_that_reads_nothing_is_cut_off(
    server_rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagger.serve.server.SEND_SECONDS", 0.3)
    with serving.serving(server_rank) as address, socket.socket() as deaf:
        parts = urlsplit(address)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        deaf.settimeout(serving.PATIENCE)
        deaf.connect((parts.hostname, parts.port))
        requests = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1_000_000
        with pytest.raises(OSError, match=r"reset|pipe"):
            deaf.sendall(requests)
    # And the server has ended, although that client never read on.


def test_connections_far_beyond_the_limit_are_cut_off(
    server_rank: Rank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tagger.serve.server.MOST_CONNECTIONS", 3)
    with serving.serving(server_rank) as address, ExitStack() as stack:
        connections = [stack.enter_context(connected(address)) for _ in range(12)]
        assert connections[-1].recv(1) == b""
        connections[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connections[0].recv(1000).startswith(b"HTTP/1.1 200 ")
        connections[4].sendall(b"GET /v1/tags HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b"".join(iter(lambda: connections[4].recv(1000), b""))  # and it is closed
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer.lower()
        assert b'"error_type":"server_error"' in answer


@pytest.mark.parametrize(
    ("soft", "hard", "most"),
    [(256, 256, 96), (1024, 1024, 480), (1024, 4096, 1024), (1024, 1_000_000, 1024), (64, 64, 1)],
)
def test_connections_leave_room_for_other_files(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, most: int
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert most_connections() == most
    assert asked == ([] if soft == hard else [(4096, hard)])


def test_what_asyncio_says_is_a_line(server_rank: Rank, caplog: pytest.LogCaptureFixture) -> None:
    with serving.serving(server_rank):
        for number in range(3):
            logging.getLogger("asyncio").error(
                "out of files\nsocket: %d", number, exc_info=OSError(24, "Too many open files")
            )
    (record,) = [record for record in caplog.records if record.name == "asyncio"]
    assert record.getMessage() == "out of files: OSError: [Errno 24] Too many open files"
    assert record.exc_info is None
