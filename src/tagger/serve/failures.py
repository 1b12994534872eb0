"""What a client is told when its request is not answered.

There are two shapes. That of FastAPI and TypeSafe's System One has the errors of a body as a list
of `loc`, `msg` and `type`, and anything else as `error_type` and `message`. OpenAI's has a single
object.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from tagger._util.text import storable
from tagger._util.validation import PREFIX
from tagger.errors import InputError, ReadmeError, TaggerError

OPENAI = "/v1/decisions"
"""The path whose clients expect OpenAI's shape."""

_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found",
    429: "rate_limit_error",
}
_MOST_FAULTS = 20
"""Faults of one body that are told; a body of a megabyte may have as many as it has values."""

log = logging.getLogger(__name__)


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


def install(app: FastAPI) -> None:
    """Have an application answer in these shapes."""

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        return _invalid(request.url.path, error.errors())

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        return _response(request.url.path, error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Refusal)
    async def _(request: Request, error: Refusal) -> Response:
        return error.response(request.url.path)

    @app.exception_handler(Exception)
    async def _(request: Request, _error: Exception) -> Response:  # which goes on to the gate
        return _response(request.url.path, 500, "internal error: the server's log says more")

    @app.exception_handler(TaggerError)
    async def _(request: Request, error: TaggerError) -> Response:
        if not is_clients(error):
            log.warning("%s", error)
            return _response(request.url.path, 500, str(error))
        place = ("body", "readme") if isinstance(error, ReadmeError) else ("body",)
        fault = {"loc": place, "msg": str(error), "type": type(error).__name__}
        return _invalid(request.url.path, [fault])


def _invalid(path: str, faults: Sequence[Mapping[str, Any]]) -> Response:
    """Return the answer to a body that cannot be used, without repeating it."""
    told = [
        {
            "loc": [storable(each) if isinstance(each, str) else each for each in fault["loc"]],
            "msg": storable(str(fault["msg"]).removeprefix(PREFIX)),
            "type": fault["type"],
        }
        for fault in faults[:_MOST_FAULTS]
    ]
    if path != OPENAI:
        return JSONResponse({"detail": told}, 422)
    # Of several readings of a value the one that went furthest was meant.
    fault = max(told, key=lambda fault: len(fault["loc"]))
    # What stands in brackets is how Pydantic calls that reading; no key of this protocol has any.
    place = ".".join(str(each) for each in fault["loc"][1:] if "[" not in str(each))
    message = f"{place}: {fault['msg']}" if place else fault["msg"]
    return _response(path, 400, message, param=place or None)


def _response(
    path: str,
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
    param: str | None = None,
) -> Response:
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    message = storable(message)
    content: dict[str, Any] = {"detail": {"error_type": kind, "message": message}}
    if path == OPENAI:
        content = {"error": {"message": message, "type": kind, "param": param, "code": None}}
    return JSONResponse(content, status, dict(headers or {}))
