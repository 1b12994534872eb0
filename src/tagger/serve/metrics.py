"""Measurements for Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SHARED = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The measurements of one server."""

    def __init__(self) -> None:
        # Not the global registry: a process may have several servers, as tests do.
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "tagger_requests",
            "Requests by path and status; 499 where the client went away.",
            ("path", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "tagger_request_seconds",
            "Time from a request's first byte to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._passes = Histogram(
            "tagger_pass_readmes",
            "READMEs that shared a pass of the model.",
            buckets=_SHARED,
            registry=self._registry,
        )
        self._questions = Counter(
            "tagger_questions", "Questions answered by the model.", registry=self._registry
        )
        self._waiting = Gauge(
            "tagger_waiting",
            "READMEs and questions accepted and not answered.",
            registry=self._registry,
        )

    def watch(self, waiting: Callable[[], int]) -> None:
        """Read the number of READMEs and questions that wait off a function, at each scrape."""
        self._waiting.set_function(waiting)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request that has ended. There must not be many different paths."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def read(self, readmes: int) -> None:
        """Count a pass over READMEs."""
        self._passes.observe(readmes)

    def asked(self) -> None:
        """Count a question."""
        self._questions.inc()

    def text(self) -> bytes:
        """Return all of it in the format of Prometheus."""
        return generate_latest(self._registry)
