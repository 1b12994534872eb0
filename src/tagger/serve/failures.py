"""Error responses: what a client gets when its request is not answered, and the schemas of that.

There are two shapes. That of FastAPI and TypeSafe's System One has the faults of a body as a list
of `loc`, `msg` and `type`, and anything else as `error_type` and `message`. OpenAI's has a single
object.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from tagger._util.text import storable
from tagger.errors import InputError, ReadmeError, TaggerError
from tagger.serve.faults import TOO_LARGE, Fault, InvalidBodyError, faults

OPENAI = "/v1/decisions"
"""The path whose clients expect OpenAI's shape."""

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found",
    429: "rate_limit_error",
}
_REASONS = {
    400: "the body cannot be parsed: it is nested too deeply, or has a number of too many digits",
    404: "there is no such path: /docs lists all",
    405: "this path does not take this method: /docs lists which it takes",
}
"""Why Starlette and FastAPI refuse a request, in our words."""

_MOST_FAULTS = 20
"""Faults of one body that are listed; a body of a megabyte may have as many as it has values."""

_OF_ALL = {403: "The server has no key, and was called by another name than localhost."}
_OF_KEYS = {401: "The key is missing or wrong."}
_OF_ANSWERS = {
    400: "The body is not JSON in UTF-8.",
    408: "The body took too long to arrive.",
    413: "The body is too large, or has too many READMEs, questions or options.",
    415: "The body is not declared as JSON.",
    429: "Too many READMEs and questions are waiting: ask again after Retry-After seconds.",
    500: "The model failed.",
    504: "There was no answer in time.",
}
_NOT_READY = {503: "The model is being loaded, or there are too many connections."}
_FULL = {503: "There are too many connections."}
_INVALID = "The body is not a request."

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """Why a request is not answered."""

    error_type: str
    message: str


class ErrorResponse(BaseModel):
    """The answer to a request that is refused, or that failed."""

    detail: Problem


class BodyFault(BaseModel):
    """One thing that is wrong with a body, and where."""

    loc: list[str | int]
    msg: str
    type: str


class InvalidBody(BaseModel):
    """The answer to a body that is not a request."""

    detail: list[BodyFault]


class OpenAIProblem(BaseModel):
    """Why a request is not answered; `param` is where its body is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorResponse(BaseModel):
    """The answer to a request that is not answered, as OpenAI's clients expect it."""

    error: OpenAIProblem


class Refusal(Exception):  # noqa: N818 (of a request, whose fault it need not be)
    """A request is not answered.

    Args:
        status: the HTTP status.
        message: why, in a line.
        headers: what goes along.

    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})

    def response(self, path: str) -> Response:
        """Return the answer on a path."""
        return _response(path, self.status, str(self), self.headers)


def busy(message: str, seconds: float, status: int = 429) -> Refusal:
    """Return the refusal of a request that should be made again after some seconds."""
    return Refusal(status, message, {"Retry-After": str(max(1, round(seconds)))})


def is_clients(error: TaggerError) -> bool:
    """Say whether an error is one of what the client has sent."""
    return isinstance(error, InputError)


def of_answers(path: str) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` of a path whose requests the model answers."""
    described = {**_OF_KEYS, **_OF_ALL, **_OF_ANSWERS, **_NOT_READY}
    if path == OPENAI:
        described[400] = f"{_INVALID} {described[400]}"
        return _responses(OpenAIErrorResponse, described)
    return {
        **_responses(ErrorResponse, described),
        422: {"model": InvalidBody, "description": _INVALID},
    }


def of_lists() -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` of a path that needs the key, but not the model."""
    return _responses(ErrorResponse, {**_OF_KEYS, **_OF_ALL, **_FULL})


def of_probes() -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` of a path that needs no key."""
    return _responses(ErrorResponse, _NOT_READY)


def _responses(
    model: type[BaseModel], described: Mapping[int, str]
) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": model, "description": why} for status, why in described.items()}


def describe(schema: dict[str, Any]) -> None:
    """Correct an application's OpenAPI schema, in place.

    FastAPI adds errors of 422 everywhere, in a shape that is never sent, and knows of no key.
    """
    answered = schema["paths"][OPENAI]["post"]["responses"]
    answered.pop("422")
    components = schema["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    schema["security"] = [{"key": []}, {}]


def install(app: FastAPI) -> None:
    """Have an application answer in these shapes."""

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        # The first of each place is "body", and of a syntax error the second its position.
        found = [{**each, "loc": each["loc"][1:]} for each in error.errors()]
        return _invalid(request.url.path, faults(found, error.body))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        reason = _REASONS.get(error.status_code, str(error.detail))
        return _response(request.url.path, error.status_code, reason, error.headers)

    @app.exception_handler(Refusal)
    async def _(request: Request, error: Refusal) -> Response:
        return error.response(request.url.path)

    @app.exception_handler(Exception)
    async def _(request: Request, _error: Exception) -> Response:  # logged by the admission control
        return _response(request.url.path, 500, "internal error: the server's log says more")

    @app.exception_handler(InvalidBodyError)
    async def _(request: Request, error: InvalidBodyError) -> Response:
        return _invalid(request.url.path, [error.fault])

    @app.exception_handler(TaggerError)
    async def _(request: Request, error: TaggerError) -> Response:
        if not is_clients(error):
            log.warning("%s", error)
            return _response(request.url.path, 500, str(error))
        place = ("readme",) if isinstance(error, ReadmeError) else ()
        return _invalid(request.url.path, [Fault(place, type(error).__name__, str(error))])


def _invalid(path: str, found: Sequence[Fault]) -> Response:
    """Return the answer to a body that cannot be used, without repeating it."""
    for fault in found:
        if fault.kind == TOO_LARGE:
            return _response(path, 413, str(fault), param=fault.param)
    if path == OPENAI:
        return _response(path, 400, str(found[0]), param=found[0].param)
    listed = [
        BodyFault(loc=["body", *fault.place], msg=fault.reason, type=fault.kind)
        for fault in found[:_MOST_FAULTS]
    ]
    return JSONResponse(InvalidBody(detail=listed).model_dump(), 422)


def _response(
    path: str,
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
    param: str | None = None,
) -> Response:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    message = storable(message)
    content: BaseModel = ErrorResponse(detail=Problem(error_type=kind, message=message))
    if path == OPENAI:
        problem = OpenAIProblem(message=message, type=kind, param=param, code=None)
        content = OpenAIErrorResponse(error=problem)
    return JSONResponse(content.model_dump(), status, dict(headers or {}))
