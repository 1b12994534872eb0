"""What the page asks for and tells, as JSON: `Review` over HTTP."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tagger._util.text import printable
from tagger.errors import TaggerError
from tagger.review.items import Filter, Item, Order, State
from tagger.review.render import SHOWN, html_of
from tagger.review.review import Review, StaleError
from tagger.review.statistics import Learned, Rate, Statistics
from tagger.vocabulary import Tag

_RENDERED = 256
"""READMEs that are kept as HTML: those that were shown last."""


class Work(BaseModel):
    """Which READMEs are gone through, and how; the rest of a request is added to it."""

    model_config = ConfigDict(extra="forbid")

    order: Order = "uncertain"
    tag: str | None = None
    state: State | Literal["all"] = "open"
    text: str = ""

    @property
    def filter(self) -> Filter:
        """Which READMEs."""
        return Filter(self.tag, None if self.state == "all" else self.state, self.text)


class _NextRequest(Work):
    id: str | None = None


class _ItemRequest(Work):
    id: str


class _SkipRequest(_ItemRequest):
    revision: int
    ahead: bool = False
    """Whether the page knows already which README comes next."""


class _DecideRequest(_SkipRequest):
    tags: list[str]


class _AcceptRequest(Work):
    above: float = Field(ge=0, le=1)


class _CountRequest(Work):
    old: str


class _ReplaceRequest(_CountRequest):
    new: str


_Request = TypeVar("_Request", bound=Work)


class Api:
    """Answers the page.

    Args:
        review: what is reviewed.

    """

    def __init__(self, review: Review) -> None:
        self._review = review
        self._shown = lru_cache(_RENDERED)(self._render)

    def routes(self) -> list[Route]:
        """Return the routes; those that change nothing are asked by GET."""
        return [
            _route("GET", "session", Work, self._session),
            _route("GET", "item", _ItemRequest, self._item),
            _route("GET", "next", _NextRequest, self._next),
            _route("GET", "previous", _NextRequest, self._previous),
            _route("GET", "statistics", Work, self._statistics),
            _route("GET", "accept", _AcceptRequest, self._accept_count),
            _route("GET", "replace", _CountRequest, self._replace_count),
            _route("POST", "decide", _DecideRequest, self._decide),
            _route("POST", "skip", _SkipRequest, self._skip),
            _route("POST", "pass", _ItemRequest, self._pass),
            _route("POST", "undo", Work, self._undo),
            _route("POST", "accept", _AcceptRequest, self._accept),
            _route("POST", "replace", _ReplaceRequest, self._replace),
            _route("POST", "learn", Work, self._learn),
            _route("POST", "prepare", Work, self._prepare),
        ]

    def _session(self, _: Work) -> dict[str, Any]:
        tags = [
            _tag(tag) | {"description": tag.description, "aliases": tag.aliases}
            for tag in self._review.vocabulary
        ]
        return {"name": self._review.name, "tags": tags}

    def _item(self, asked: _ItemRequest) -> dict[str, Any]:
        return self._with_item(self._review.item(asked.id, asked.order, asked.filter))

    def _next(self, asked: _NextRequest) -> dict[str, Any]:
        return self._with_item(self._review.next(asked.order, asked.filter, asked.id))

    def _previous(self, asked: _NextRequest) -> dict[str, Any]:
        return self._with_item(self._review.previous(asked.order, asked.filter, asked.id))

    def _decide(self, asked: _DecideRequest) -> dict[str, Any]:
        self._review.decide(asked.id, asked.tags, asked.revision)
        return self._go_on(asked)

    def _skip(self, asked: _SkipRequest) -> dict[str, Any]:
        self._review.skip(asked.id, asked.revision)
        return self._go_on(asked)

    def _pass(self, asked: _ItemRequest) -> dict[str, Any]:
        return self._with_item(self._review.pass_over(asked.id, asked.order, asked.filter))

    def _go_on(self, asked: _SkipRequest) -> dict[str, Any]:
        if asked.ahead:
            return self._with_item(None)
        return self._with_item(self._review.next(asked.order, asked.filter, asked.id))

    def _undo(self, asked: Work) -> dict[str, Any]:
        item = self._review.undo()
        return self._with_item(item and self._review.item(item.id, asked.order, asked.filter))

    def _accept_count(self, asked: _AcceptRequest) -> dict[str, Any]:
        return {"count": self._review.bulk_count(asked.above, asked.order, asked.filter)}

    def _accept(self, asked: _AcceptRequest) -> dict[str, Any]:
        return {"count": self._review.bulk_accept(asked.above, asked.order, asked.filter)}

    def _replace_count(self, asked: _CountRequest) -> dict[str, Any]:
        return {"count": self._review.replace_count(asked.old, asked.order, asked.filter)}

    def _replace(self, asked: _ReplaceRequest) -> dict[str, Any]:
        count = self._review.bulk_replace(asked.old, asked.new, asked.order, asked.filter)
        return {"count": count}

    def _statistics(self, _: Work) -> dict[str, Any]:
        return _statistics(self._review.statistics())

    def _learn(self, _: Work) -> dict[str, Any]:
        return _learned(self._review.learn())

    def _prepare(self, _: Work) -> dict[str, Any]:
        self._review.prepare()
        return {}

    def _with_item(self, item: Item | None) -> dict[str, Any]:
        answer: dict[str, Any] = {"item": None, "states": dict(self._review.states())}
        if item is not None:
            html, whole = self._shown(item.id)
            answer["item"] = _item(item) | {"html": html, "whole": whole}
        return answer

    def _render(self, id_: str) -> tuple[str | None, bool]:
        """Return a README as HTML, None if it is gone, and whether that is all of it."""
        readme = self._review.readme(id_)
        return (None, True) if readme is None else (html_of(readme), len(readme.text) <= SHOWN)


def _route(
    method: str, name: str, model: type[_Request], answer: Callable[[_Request], dict[str, Any]]
) -> Route:
    async def endpoint(request: Request) -> Response:
        try:
            if method == "GET":
                asked = model.model_validate(dict(request.query_params))
            else:
                asked = model.model_validate_json(await request.body())
        except ValidationError as error:
            return _Answer({"error": f"not understood: {error.errors()[0]['msg']}"}, 400)
        try:
            return _Answer(await run_in_threadpool(answer, asked))
        except StaleError as error:
            return _Answer({"error": str(error), "item": _item(error.item)}, 409)
        except TaggerError as error:
            return _Answer({"error": str(error)}, 400)

    return Route(f"/api/{name}", endpoint, methods=[method])


class _Answer(JSONResponse):
    """JSON in which lone surrogates, as ids may have, are escaped."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def _tag(tag: Tag) -> dict[str, Any]:
    return {"id": str(tag.id), "name": tag.label}


def _item(item: Item) -> dict[str, Any]:
    suggestions = [
        _tag(each.tag) | {"confidence": each.confidence, "given": each.given}
        for each in item.suggestions
    ]
    return asdict(item) | {
        "name": printable(item.id),
        "place": printable(item.place),
        "error": printable(item.error),
        "suggestions": suggestions,
        "decided": [_tag(tag) for tag in item.decided],
    }


def _rate(rate: Rate | None) -> dict[str, Any] | None:
    return None if rate is None else asdict(rate) | {"share": rate.share}


def _statistics(statistics: Statistics) -> dict[str, Any]:
    tags = [
        _tag(each.tag)
        | {
            "suggested": each.suggested,
            "decided": each.decided,
            "precision": _rate(each.precision),
            "recall": _rate(each.recall),
        }
        for each in statistics.tags
    ]
    return {
        "states": dict(statistics.states),
        "bulk": statistics.bulk,
        "failed": statistics.failed,
        "suspicious": statistics.suspicious,
        "sampled": statistics.sampled,
        "skipped": statistics.skipped,
        "passed_over": statistics.passed_over,
        "first": _rate(statistics.first),
        "given": _rate(statistics.given),
        "calibration": statistics.calibration,
        "tags": tags,
    }


def _learned(learned: Learned) -> dict[str, Any]:
    return {
        "readmes": learned.lesson.readmes,
        "bulk": learned.bulk,
        "before": _rate(learned.before),
        "after": _rate(learned.after),
        "f1_before": learned.f1_before,
        "f1_after": learned.f1_after,
        "ranked": learned.ranked,
        "unread": learned.unread,
        "why_not": learned.why_not,
        "head": None if learned.head is None else printable(str(learned.head)),
    }
