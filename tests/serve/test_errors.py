"""Errors have the schemas that the OpenAPI description gives for them, and speak plainly."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import jsonschema
import pytest

from support import serving
from support.messages import MESSAGES
from tagger.errors import OutOfMemoryError
from tagger.methods.rank.choice import OptionScorer
from tagger.methods.rank.rank import Rank
from tagger.models.language import LanguageModel
from tagger.serve.admission import Limits

JSON = {"Content-Type": "application/json"}
PATHS = ("/v1/tag", "/v1/systemone", "/v1/decisions")
LISTS = ("/v1/tags", "/v1/models", "/metrics")
NOUL = {"type": "noul", "instructions": "A game?"}
PREDICATE = {"type": "predicate", "instructions": "A game."}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/tag": {"readme": "A game."},
    "/v1/systemone": {"model": "m", "state": "x", "questions": {"q": NOUL}},
    "/v1/decisions": {"model": "m", "input": "x", "questions": [PREDICATE]},
}
MANY = dict.fromkeys(map(str, range(1025)))
PYDANTIC = ("Input", "should", "valid", "dictionary", "instance", "constrained", "union", "[")


@pytest.fixture(scope="module")
def description(server: httpx2.Client) -> Any:
    return server.get("/openapi.json").json()


def check(description: Any, response: httpx2.Response, path: str, status: int) -> str:
    """Compare an error with the schema of its path and status; the message."""
    assert response.status_code == status, response.text
    (operation,) = description["paths"][path].values()
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    assert response.headers["Content-Type"] == "application/json"
    found = response.json()
    jsonschema.validate(found, {**schema, "components": description["components"]})
    detail = found.get("detail", found.get("error"))
    text: str = detail["message"] if isinstance(detail, dict) else detail[0]["msg"]
    assert not any(word in text for word in PYDANTIC), text
    MESSAGES.check(text)
    return text


def post(address: str, path: str, **options: Any) -> httpx2.Response:
    return serving.post(address + path, **({"json": BODIES[path]} | options))


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hold the model's passes until the block ends; the event is set once it is reading."""
    reading, go_on = threading.Event(), threading.Event()

    def hold(*_: object) -> None:
        reading.set()
        go_on.wait(serving.PATIENCE)
        raise OutOfMemoryError("not enough memory")

    with monkeypatch.context() as patch:
        patch.setattr(Rank, "read", hold)
        patch.setattr(OptionScorer, "probabilities", hold)
        try:
            yield reading
        finally:
            go_on.set()


def test_bodies_that_cannot_be_read(server: httpx2.Client, description: Any) -> None:
    for path in PATHS:
        check(description, server.post(path, content=b"\xff", headers=JSON), path, 400)
        check(description, server.post(path, content=b"x"), path, 415)


def test_bodies_that_are_no_requests(server: httpx2.Client, description: Any) -> None:
    for path in PATHS:
        for content in (b"", b"{", b"[]", b"{}", b'{"questions": 5, "readme": 5}'):
            response = server.post(path, content=content, headers=JSON)
            check(description, response, path, 400 if path == "/v1/decisions" else 422)


def test_keys_and_names(server_rank: Rank, server: httpx2.Client, description: Any) -> None:
    with serving.serving(server_rank, key="sesame") as address:
        for path in PATHS:
            check(description, post(address, path), path, 401)
        for path in LISTS:
            check(description, serving.get(address + path), path, 401)
    for path in PATHS:
        other = {"Host": "example.com"}
        check(description, server.post(path, json=BODIES[path], headers=other), path, 403)
    for path in LISTS:
        check(description, server.get(path, headers={"Host": "example.com"}), path, 403)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("/v1/tag", {"readme": None, "readmes": [{"readme": "x"}] * 65}),
        ("/v1/systemone", {"questions": {str(number): NOUL for number in range(401)}}),
        (
            "/v1/systemone",
            {
                "questions": {
                    "q": {"type": "choice", "criteria": dict.fromkeys(map(str, range(1025)))}
                }
            },
        ),
        ("/v1/systemone", {"questions": {"q": {"type": "score", "criteria": ["x"] * 1025}}}),
        ("/v1/decisions", {"questions": [PREDICATE] * 401}),
        (
            "/v1/decisions",
            {"questions": [{**PREDICATE, "type": "choice", "choices": [{"value": "x"}] * 1025}]},
        ),
        (
            "/v1/decisions",
            {"questions": [{**PREDICATE, "type": "score", "levels": [{"label": "x"}] * 1025}]},
        ),
    ],
    ids=["readmes", "questions", "options", "levels", "list", "choices", "labels"],
)
def test_more_than_is_taken_is_413_with_the_limit(
    server: httpx2.Client, description: Any, path: str, change: dict[str, Any]
) -> None:
    text = check(description, server.post(path, json=BODIES[path] | change), path, 413)
    assert any(limit in text for limit in ("64", "400", "1,024"))


def test_large_and_slow_bodies(server_rank: Rank, description: Any) -> None:
    limits = Limits(body=10, body_seconds=0.2)
    with serving.serving(server_rank, limits=limits) as address:
        for path in PATHS:
            assert "10 bytes are" in check(description, post(address, path), path, 413)
            host, port = address.removeprefix("http://").split(":")
            head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
            check(description, serving.raw(host, int(port), head.encode()), path, 408)


def test_a_client_that_asks_first_is_refused_before_it_sends(
    server_rank: Rank, description: Any
) -> None:
    limits = Limits(body=10, body_seconds=serving.PATIENCE)
    with serving.serving(server_rank, limits=limits, key="secret") as address:
        host, port = address.removeprefix("http://").split(":")
        for headers, status in (("", 401), ("Authorization: Bearer secret\r\n", 413)):
            head = (
                f"POST /v1/tag HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n{headers}"
                "Expect: 100-continue\r\n\r\n"
            )
            answer = serving.raw(host, int(port), head.encode())
            check(description, answer, "/v1/tag", status)


def test_no_error_is_described_that_is_never_sent(description: Any) -> None:
    assert "422" not in description["paths"]["/v1/decisions"]["post"]["responses"]
    assert "HTTPValidationError" not in description["components"]["schemas"]


def test_text_with_zero_characters_is_refused(server: httpx2.Client, description: Any) -> None:
    text = "\0".join("http server")
    check(description, server.post("/v1/tag", json={"readme": text}), "/v1/tag", 422)


def test_a_full_queue_and_late_answers(
    server_rank: Rank, description: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in PATHS:
        with (
            held(monkeypatch) as reading,
            ThreadPoolExecutor(1) as client,
            serving.serving(server_rank, most=1, seconds=1.0) as address,
        ):
            late = client.submit(post, address, path)
            assert reading.wait(serving.PATIENCE)
            check(description, post(address, path), path, 429)
            check(description, late.result(), path, 504)


def test_a_model_that_fails(
    server_rank: Rank, description: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OutOfMemoryError("not enough memory")

    monkeypatch.setattr(Rank, "read", fail)
    monkeypatch.setattr(OptionScorer, "probabilities", fail)
    with serving.serving(server_rank) as address:
        for path in PATHS:
            check(description, post(address, path), path, 500)


def test_until_the_model_is_loaded(
    server_rank: Rank, description: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = threading.Event()
    monkeypatch.setattr(LanguageModel, "load", lambda _: loading.wait(serving.PATIENCE))
    with serving.starting(server_rank) as address:
        check(description, serving.get(f"{address}/readyz"), "/readyz", 503)
        for path in PATHS:
            check(description, post(address, path), path, 503)
        loading.set()


def test_paths_and_methods_that_are_not_there(server: httpx2.Client) -> None:
    for response, status in (
        (server.get("/nothing"), 404),
        (server.get("/v1/tag"), 405),
        (server.delete("/v1/decisions"), 405),
    ):
        assert response.status_code == status
        found = response.json()
        MESSAGES.check(found.get("detail", found.get("error"))["message"])


@pytest.mark.parametrize(
    ("path", "change", "place"),
    [
        ("/v1/tag", {"id": 1.5}, ["id"]),
        ("/v1/tag", {"readme": None, "readmes": [5]}, ["readmes", 0]),
        ("/v1/systemone", {"questions": {"q": {"type": "box"}}}, ["questions", "q"]),
        ("/v1/systemone", {"questions": {"q": {}}}, ["questions", "q"]),
        ("/v1/systemone", {"questions": {"q": 5}}, ["questions", "q"]),
        (
            "/v1/systemone",
            {"questions": {"q": {"type": "choice"}}},
            ["questions", "q", "criteria"],
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_fault_is_where_it_is_in_the_body(
    server: httpx2.Client, path: str, change: dict[str, Any], place: list[object]
) -> None:
    (fault,) = server.post(path, json=BODIES[path] | change).json()["detail"]
    assert fault["loc"] == ["body", *place]
    MESSAGES.check(fault["msg"])


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"input": 5}, "input"),
        ({"input": [5]}, "input.0"),
        ({"input": [{"role": "x", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user", "content": 5}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "input.0.content.0"),
        ({"questions": [{"type": "predicate", "instructions": 5}]}, "questions.0.instructions"),
        (
            {"questions": [{**PREDICATE, "type": "choice", "choices": [{"value": 5}] * 2}]},
            "questions.0.choices.0.value",
        ),
    ],
    ids=str,
)
def test_openais_clients_get_the_place_as_a_parameter(
    server: httpx2.Client, description: Any, change: dict[str, Any], param: str
) -> None:
    response = server.post("/v1/decisions", json=BODIES["/v1/decisions"] | change)
    check(description, response, "/v1/decisions", 400)
    assert response.json()["error"]["param"] == param


def test_a_question_that_is_too_long_for_the_model_is_named(
    server: httpx2.Client, description: Any
) -> None:
    long = {"instructions": "Is it a game? " * 3000}
    change: dict[str, Any] = {"questions": {"r": NOUL, "q": NOUL | long}}
    response = server.post("/v1/systemone", json=BODIES["/v1/systemone"] | change)
    check(description, response, "/v1/systemone", 422)
    assert response.json()["detail"][0]["loc"] == ["body", "questions", "q"]
    change = {"questions": [PREDICATE, PREDICATE | long]}
    response = server.post("/v1/decisions", json=BODIES["/v1/decisions"] | change)
    check(description, response, "/v1/decisions", 400)
    assert response.json()["error"]["param"] == "questions.1"
