"""Who is answered, and what the page is told."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from support import reviews
from support.messages import MESSAGES, refused
from tagger.errors import UsageError
from tagger.review.review import Review
from tagger.review.server import Server, application, bound

TOKEN = "the token"
PORT = 8000
ORIGIN = f"http://127.0.0.1:{PORT}"
PATHS = ["/", "/review.js", "/review.css", "/api/session", "/api/next", "/api/statistics", "/x"]


@pytest.fixture
def review(tmp_path: Path) -> Iterator[Review]:
    with reviews.opened(tmp_path) as review:
        yield review


@pytest.fixture
def stranger(review: Review) -> TestClient:
    """A client without the token."""
    return TestClient(application(review, TOKEN, PORT), base_url=ORIGIN, follow_redirects=False)


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    assert stranger.get("/", params={"token": TOKEN}).status_code == 200
    stranger.headers["Origin"] = ORIGIN
    return stranger


def test_the_token_in_the_address_becomes_a_cookie(stranger: TestClient) -> None:
    answer = stranger.get("/", params={"token": TOKEN})
    assert answer.status_code == 200
    assert 'content="0; url=/"' in answer.text, "it leads to an address without the token"
    assert TOKEN not in answer.text
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"tagger-review-{PORT}=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    page = stranger.get("/")
    assert page.status_code == 200
    assert TOKEN not in page.text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "another", TOKEN[:-1], "é"])
def test_nobody_is_answered_without_the_token(stranger: TestClient, path: str, token: str) -> None:
    assert stranger.get(path, params={"token": token}).status_code == 403
    headers = [(b"Cookie", f"tagger-review-{PORT}={token}".encode()), (b"Origin", ORIGIN.encode())]
    assert stranger.get(path, headers=headers).status_code == 403
    assert stranger.post(path, json={}, headers=headers).status_code == 403


def test_a_token_that_others_can_see_lets_in_one_browser(review: Review) -> None:
    served = application(review, TOKEN, PORT, once="seen")
    first, second = (TestClient(served, base_url=ORIGIN, follow_redirects=False) for _ in range(2))
    assert first.get("/", params={"token": "seen"}).status_code == 200
    assert first.get("/").status_code == 200
    assert second.get("/", params={"token": "seen"}).status_code == 403
    assert second.get("/", params={"token": TOKEN}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "null"}],
)
def test_the_address_may_be_opened_from_anywhere(
    stranger: TestClient, headers: dict[str, str]
) -> None:
    headers |= {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert stranger.get("/", params={"token": "another"}, headers=headers).status_code == 403
    assert stranger.get("/", params={"token": TOKEN}, headers=headers).status_code == 200
    assert stranger.post("/", params={"token": TOKEN}, headers=headers).status_code == 403
    assert stranger.get("/api/session", headers=headers).status_code == 403


def test_the_token_in_the_address_opens_the_page_alone(stranger: TestClient) -> None:
    assert stranger.get("/api/session", params={"token": TOKEN}).status_code == 403
    assert stranger.post("/", params={"token": TOKEN}).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example:8000", ""]
)
def test_another_name_for_this_machine_is_refused(client: TestClient, host: str) -> None:
    for path in PATHS:
        assert client.get(path, headers={"Host": host}).status_code == 403
    assert client.get("/", params={"token": TOKEN}, headers={"Host": host}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:8000", "Origin": "http://localhost:8000"})


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8001"},
        {"Origin": f"https://127.0.0.1:{PORT}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_others_are_refused(client: TestClient, headers: dict[str, str]) -> None:
    assert client.post("/api/undo", json={}, headers=headers).status_code == 403
    assert client.get("/api/session", headers=headers).status_code == 403


def test_a_post_that_does_not_say_where_it_is_from_is_refused(client: TestClient) -> None:
    del client.headers["Origin"]
    assert client.post("/api/undo", json={}).status_code == 403
    assert client.get("/api/session").status_code == 200


def test_no_header_lets_others_read_nor_the_page_load_anything_of_theirs(
    client: TestClient,
) -> None:
    for answer in (client.get("/"), client.get("/api/session"), client.get("/nothing")):
        assert not [name for name in answer.headers if name.startswith("access-control-")]
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert not re.search(r"https?:|\*", policy)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
    page = client.get("/").text
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|https?://", page)


def asked(client: TestClient, path: str, **values: Any) -> Any:
    answer = client.get(f"/api/{path}", params=values)
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(client: TestClient, path: str, **values: Any) -> Any:
    answer = client.post(f"/api/{path}", json=values)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_page_is_told_of_the_vocabulary_and_of_readmes(client: TestClient) -> None:
    session = asked(client, "session")
    assert session["name"].endswith("out.jsonl")
    assert session["tags"][0] == {
        "id": "1",
        "name": "cli",
        "description": "run in a terminal",
        "aliases": [],
    }
    answer = asked(client, "next")
    assert answer["states"]["open"] == 12
    item = answer["item"]
    assert item["state"] == "open"
    assert f"<h3>{item['id']}</h3>" in item["html"]
    assert "<script" not in item["html"]


def test_a_decision_is_kept_and_answered_by_the_next_readme(
    client: TestClient, review: Review
) -> None:
    first = asked(client, "next")["item"]
    answer = told(client, "decide", id=first["id"], revision=first["revision"], tags=["db", "2"])
    assert answer["item"]["id"] != first["id"]
    assert answer["states"]["reviewed"] == 1
    assert [tag.name for tag in review.item(first["id"]).decided] == ["database", "game"]
    second = answer["item"]
    answer = told(client, "skip", id=second["id"], revision=second["revision"], ahead=True)
    assert answer["item"] is None, "it was fetched before"
    assert review.item(second["id"]).state == "skipped"
    assert told(client, "undo")["item"]["id"] == second["id"]
    assert told(client, "undo")["item"]["id"] == first["id"]
    assert told(client, "undo")["item"] is None
    assert asked(client, "item", id=first["id"])["item"]["state"] == "open"


def test_a_decision_on_what_was_decided_since_is_refused(client: TestClient) -> None:
    item = asked(client, "next")["item"]
    decision = {"id": item["id"], "revision": item["revision"], "tags": ["1"]}
    told(client, "decide", **decision)
    answer = client.post("/api/decide", json=decision | {"tags": ["2"]})
    assert answer.status_code == 409
    MESSAGES.check(answer.json()["error"].replace(item["id"], "ID"))
    assert [tag["id"] for tag in answer.json()["item"]["decided"]] == ["1"]


def test_orders_and_filters_are_taken(client: TestClient) -> None:
    assert asked(client, "next", order="failed")["item"]["error"]
    chosen = asked(client, "next", text="readme-3", state="all", tag="4")
    assert chosen["item"] is None or chosen["item"]["id"] == "readme-3"
    assert asked(client, "next", state="reviewed")["item"] is None
    some = asked(client, "next", order="confident")["item"]
    after = asked(client, "next", order="confident", id=some["id"])["item"]
    assert after["id"] != some["id"]


def test_many_are_decided_at_once(client: TestClient) -> None:
    count = asked(client, "accept", above=0.7)["count"]
    assert 0 < count < 12
    assert told(client, "accept", above=0.7)["count"] == count
    assert asked(client, "statistics")["bulk"] == count
    assert told(client, "undo")["states"]["reviewed"] == 0
    count = asked(client, "replace", old="2")["count"]
    assert told(client, "replace", old="2", new="3")["count"] == count > 0


def test_a_readme_that_is_passed_over_is_counted(client: TestClient) -> None:
    first = asked(client, "next")["item"]
    second = told(client, "pass", id=first["id"])["item"]
    assert second["id"] != first["id"]
    assert asked(client, "statistics")["passed_over"] == 1
    told(client, "skip", id=first["id"], revision=first["revision"])
    known = asked(client, "statistics")
    assert (known["passed_over"], known["skipped"]) == (0, 1)


def test_undo_tells_the_place_in_the_order_that_is_gone_through(client: TestClient) -> None:
    work = {"order": "confident", "state": "all", "text": "readme-1"}
    item = asked(client, "next", **work)["item"]
    told(client, "skip", id=item["id"], revision=item["revision"], **work)
    undone = told(client, "undo", **work)["item"]
    assert (undone["position"], undone["total"]) == (1, 3)


def test_bulk_decisions_are_about_the_order_that_is_gone_through(client: TestClient) -> None:
    assert asked(client, "accept", above=0, order="failed")["count"] == 0
    assert told(client, "accept", above=0, order="failed")["count"] == 0
    assert asked(client, "replace", old="2", order="failed")["count"] == 0


def test_statistics_are_told(client: TestClient) -> None:
    item = asked(client, "next")["item"]
    tags = [tag["id"] for tag in item["suggestions"]]
    told(client, "decide", id=item["id"], revision=item["revision"], tags=tags)
    known = asked(client, "statistics")
    assert known["states"]["reviewed"] == 1
    assert {"first", "given", "calibration", "tags", "sampled"} <= set(known)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("decide", "no JSON"),
        ("decide", "{}"),
        ("decide", '{"id": "readme-1", "revision": 0, "tags": "cli"}'),
        ("decide", '{"id": "readme-1", "revision": 0, "tags": ["there is none"]}'),
        ("decide", '{"id": "there is none", "revision": 0, "tags": []}'),
        ("undo", '{"order": "alphabetical"}'),
        ("undo", '{"what": "else"}'),
        ("accept", '{"above": 2}'),
        ("learn", "{}"),
        ("undo", "[" * 100_000),
    ],
)
def test_what_cannot_be_done_is_said(client: TestClient, path: str, body: str) -> None:
    answer = client.post(f"/api/{path}", content=body)
    assert answer.status_code == 400
    MESSAGES.check(answer.json()["error"])


def test_what_is_not_there_is_not_found(client: TestClient) -> None:
    for path in ("/api/nothing", "/index.html", "/../server.py", "/%2e%2e/server.py"):
        assert client.get(path).status_code == 404
    assert client.get("/api/decide").status_code == 405


def test_it_is_served_on_this_machine_alone_until_it_is_stopped(review: Review) -> None:
    told: list[str] = []
    with bound(0) as at:
        server = Server(review, at)

        def ready(*addresses: str) -> None:
            told.extend(addresses)
            threading.Timer(0.2, server.stop).start()

        server.serve(ready)
    for address in told:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{43}", address)
    assert len(set(told)) == 2


def serve(review: Review, visit: Callable[[str], None]) -> None:
    """Serve a page until somebody has visited its address."""
    with bound(0) as at:
        server = Server(review, at)

        def ready(address: str, _: str) -> None:
            visit(address)
            server.stop()

        server.serve(ready)


def test_a_browser_that_makes_its_caller_wait_hinders_nothing(review: Review) -> None:
    """As text browsers do, until they are closed."""
    answers: list[int] = []

    def visit(address: str) -> None:
        with urlopen(address, timeout=10) as answer:
            answers.append(answer.status)

    serve(review, visit)
    assert answers == [200]


def test_answers_are_sent_at_once(review: Review, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when the browser has acknowledged their heads, 40 ms later."""
    found: list[int] = []
    made = AutoHTTPProtocol.connection_made

    def note(protocol: Any, transport: Any) -> None:
        taken = transport.get_extra_info("socket")
        found.append(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        made(protocol, transport)

    monkeypatch.setattr(AutoHTTPProtocol, "connection_made", note)
    serve(review, lambda address: urlopen(address, timeout=10).close())
    assert found
    assert all(found)


def test_a_port_in_use_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, refused(UsageError):
        try:
            bound(taken.getsockname()[1])
        except UsageError as error:
            raise UsageError(re.sub(r"\d+", "PORT", str(error))) from error
