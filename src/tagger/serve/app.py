"""The application: every path, and what it answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel
from starlette.types import ASGIApp

from tagger import __version__
from tagger.methods.rank.rank import Rank
from tagger.selection import Selection
from tagger.serve import decisions, failures, systemone
from tagger.serve.admission import AdmissionControl, Limits
from tagger.serve.engine import LOADING, Engine
from tagger.serve.metrics import Metrics
from tagger.serve.page import page
from tagger.serve.schemas import TagRequest, TagsOut
from tagger.serve.service import Service
from tagger.tagging import Failure, Tagging

TAG = "/v1/tag"


class Replies(BaseModel):
    """The replies to several READMEs, in their order."""

    replies: list[Tagging | Failure]


class Models(BaseModel):
    """The model, as TypeSafe's clients and as OpenAI's look for it."""

    models: list[systemone.Model]
    object: str = "list"
    data: list[dict[str, Any]]


def application(
    rank: Rank,
    selection: Selection,
    key: str | None = None,
    *,
    most: int = 256,
    seconds: float = 120.0,
    limits: Limits | None = None,
    failed: Callable[[BaseException], None] = lambda _: None,
) -> ASGIApp:
    """Return an ASGI application that answers with one model.

    The model is loaded when the application starts; until then it answers 503.

    Args:
        rank: the method.
        selection: how many tags are given where a request does not say.
        key: what clients must send; None where no key is needed.
        most: READMEs and questions that may wait.
        seconds: how long a request may wait for its answer.
        limits: how much a client may send.
        failed: hears why the model cannot be loaded.

    """
    metrics = Metrics()
    engine = Engine(rank, most, metrics)
    metrics.watch(lambda: engine.waiting)

    def ended(work: "asyncio.Task[None]") -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            failed(error)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        work = asyncio.create_task(engine.run())
        work.add_done_callback(ended)
        yield
        work.cancel()
        engine.close()

    app = FastAPI(
        title="tagger",
        version=__version__,
        summary="Tags from a fixed list for READMEs, and decisions over any options.",
        docs_url=None,
        redoc_url=None,
        strict_content_type=True,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    failures.install(app)
    _add_answers(app, Service(rank, engine, selection, seconds))
    _add_probes(app, engine, metrics)
    schema = app.openapi()
    failures.describe(schema)
    paths = {*schema["paths"], "/docs", "/openapi.json"}
    return AdmissionControl(app, metrics, paths, key, limits)


def _add_answers(app: FastAPI, service: Service) -> None:
    """Add the paths that answer with the model, or tell of it."""
    name = service.rank.name
    if Path(name).is_dir():  # where it lies is nobody's business
        name = Path(name).absolute().name

    @app.post(
        TAG,
        response_model=Tagging | Replies,
        responses=failures.of_answers(TAG),
        summary="Tag one README or several",
    )
    async def tag(request: TagRequest) -> Response:
        return Response(await service.tag(request), media_type="application/json")

    @app.get("/v1/tags", responses=failures.of_lists(), summary="The vocabulary")
    async def tags() -> TagsOut:
        return TagsOut.of(service.rank.vocabulary)

    @app.post(
        systemone.PATH,
        responses=failures.of_answers(systemone.PATH),
        summary="Decisions: TypeSafe's System One",
    )
    async def system_one(request: systemone.SystemOneRequest) -> systemone.SystemOneResponse:
        found = await service.probabilities(request.choices, request.text)
        return systemone.response(request, name, found)

    @app.post(
        decisions.PATH,
        responses=failures.of_answers(decisions.PATH),
        summary="Decisions: OpenAI's",
    )
    async def decide(request: decisions.DecisionRequest) -> decisions.Decision:
        found = await service.probabilities(request.choices, request.text)
        return decisions.response(request, name, found)

    @app.get("/v1/models", responses=failures.of_lists(), summary="The model")
    async def models() -> Models:
        names = dict.fromkeys((systemone.ALIAS, name))
        return Models(
            models=[
                systemone.Model(name=each, description=f"tagger with {name}") for each in names
            ],
            data=[
                {"id": each, "object": "model", "created": 0, "owned_by": "tagger"}
                for each in names
            ],
        )


def _add_probes(app: FastAPI, engine: Engine, metrics: Metrics) -> None:
    """Add the paths for whoever keeps the server running, and the page for whoever uses it."""

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", responses=failures.of_probes(), summary="Whether the server runs")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", responses=failures.of_probes(), summary="Whether the model is loaded")
    async def readyz() -> dict[str, str]:
        if not engine.ready:
            raise LOADING
        return {"status": "ready"}

    @app.get(
        "/metrics",
        response_class=Response,
        responses={**failures.of_lists(), 200: {"content": {"text/plain": {}}}},
        summary="Measurements for Prometheus",
    )
    async def measurements() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page(app.openapi())
