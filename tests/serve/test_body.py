"""Bodies that are refused before they are parsed, and how little the others may cost."""

import json
from typing import Any

import httpx2
import pytest
from pydantic import BaseModel, ValidationError

from support.messages import MESSAGES
from tagger.serve.body import MOST_VALUES, check, with_whole_pairs
from tagger.serve.decisions import DecisionRequest
from tagger.serve.failures import Refusal
from tagger.serve.schemas import TagRequest
from tagger.serve.systemone import SystemOneRequest

JSON = "application/json"
MANY = 10_000
PREDICATE = {"type": "predicate", "instructions": "A game?"}
README = b'{"readme": "A game."}'


def refused(body: bytes, content_type: str = JSON) -> int:
    with pytest.raises(Refusal) as caught:
        check(body, content_type)
    MESSAGES.check(str(caught.value))
    return caught.value.status


@pytest.mark.parametrize("value", ["[]", "{}", "1", '""'])
def test_too_many_values(value: str) -> None:
    body = f"[{','.join([value] * (MOST_VALUES + 1))}]".encode()
    assert refused(body) == 413
    assert refused(body.replace(b"]", b'],"')) == 413
    check(json.dumps(body.decode()).encode(), JSON)  # one value, a text


@pytest.mark.parametrize("text", ["[[[[,,,,", '"' * 9, "\\", "\\\\", '\\"[', "\n,"])
def test_what_stands_in_a_text_does_not_count(text: str) -> None:
    check(json.dumps({"readme": text * MOST_VALUES}).encode(), JSON)


def test_half_a_surrogate_pair() -> None:
    for half in (r"\ud800", r"\uDFFF", r"\ud800\ud800", r"\udc00\ud800", r"\\\ud800", r"\ud83dx"):
        assert refused(f'{{"readme": "{half}"}}'.encode()) == 400
    for whole in (r"\ud83d\ude00", r"\\ud800", r"\\\\uDFFF", r"\ud7ff", r"\ue000", "\U0001f600"):
        check(f'{{"readme": "{whole}"}}'.encode(), JSON)


def test_half_pairs_are_replaced() -> None:
    replaced = with_whole_pairs(r'["\ud800x\udfff", "\ud83d\ude00", "\\ud800", "é"]')
    assert replaced == r'["\ufffdx\ufffd", "\ud83d\ude00", "\\ud800", "é"]'


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be", "latin-1"])
def test_other_encodings_than_utf_8(encoding: str) -> None:
    assert refused('{"readme": "é"}'.encode(encoding)) == 400


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_bodies_that_are_not_declared_as_json(content_type: str) -> None:
    assert refused(README, content_type) == 415


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=utf-8", "application/x+json"]
)
def test_bodies_that_are_declared_as_json(content_type: str) -> None:
    check(README, content_type)


def test_a_server_refuses_them_in_the_shape_of_each_path(server: httpx2.Client) -> None:
    response = server.post("/v1/tag", content=README)
    assert response.status_code == 415
    assert "Content-Type: application/json" in response.json()["detail"]["message"]
    body = {"model": "m", "input": "x", "questions": [{**PREDICATE, "name": "\ud800"}]}
    content = json.dumps(body).encode()
    response = server.post("/v1/decisions", content=content, headers={"Content-Type": JSON})
    assert response.status_code == 400
    assert "surrogate" in response.json()["error"]["message"]
    assert server.post("/nothing", content=README).status_code == 404


def system_one(question: dict[str, Any], count: int = 1) -> dict[str, Any]:
    questions = {str(number): question for number in range(count)}
    return {"model": "m", "state": "x", "questions": questions}


def decision(question: object, given: object = "x", count: int = 1) -> dict[str, Any]:
    return {"model": "m", "input": given, "questions": [question] * count}


@pytest.mark.parametrize(
    ("model", "body", "most"),
    [
        (DecisionRequest, decision(PREDICATE, [{}] * MANY), 5),
        (DecisionRequest, decision(PREDICATE, [{"role": "user", "content": [{}] * MANY}]), 5),
        (DecisionRequest, decision({}, count=400), 5),
        (DecisionRequest, decision({"type": "choice", "choices": [1] * MANY}), 5),
        (DecisionRequest, decision({"type": "score", "levels": [{}] * MANY}), 5),
        (SystemOneRequest, system_one({"type": "score", "criteria": [1] * MANY}, 400), 400),
        (
            SystemOneRequest,
            system_one({"type": "choice", "criteria": dict.fromkeys(map(str, range(1000)), 1)}, 20),
            20,
        ),
        (
            SystemOneRequest,
            system_one({"type": "choice", "criteria": dict.fromkeys(map(str, range(MANY)), 1)}),
            1,
        ),
        (TagRequest, {"readmes": [1] * MANY}, 5),
        (TagRequest, {"readmes": [{str(number): 1 for number in range(MANY)}]}, 5),
        (TagRequest, {str(number): 1 for number in range(MANY)}, 5),
    ],
    ids=[
        *("items", "parts", "questions", "choices", "levels", "criteria of scores"),
        *("criteria", "many criteria", "readmes", "fields of a readme", "fields"),
    ],
)
def test_few_of_many_faults_are_found(
    model: type[BaseModel], body: dict[str, Any], most: int
) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    assert caught.value.error_count() <= most
