"""A Ray cluster: connecting to it, checking its machines, and counting the actors they hold."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tagger._util.extras import need
from tagger._util.text import printable
from tagger.errors import ClusterError, TaggerError, UsageError
from tagger.ray.worker import Recipe

LOCAL = "local"
"""The address for a cluster of this machine alone, which is started and ended with the batch."""

AUTO = "auto"
"""The address for the cluster that this machine belongs to."""

_CONNECT_SECONDS = 5.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_FRAME_HEADER, _SETTINGS = 9, b"\4"
"""The beginning of a client, with empty settings; the length of a frame's header, and its type."""

_CHECK_SECONDS = 600
"""How long a machine may take to fetch the model, or to say that it has it."""

_MEMORY = 512 * 1024 * 1024
"""Bytes of the object store of a cluster of this machine alone: blocks are small."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Actors:
    """How many actors there are, and what each takes.

    Attributes:
        count: how many.
        cpus: processor threads of each.
        gpus: GPUs of each, one or none.

    """

    count: int
    cpus: int
    gpus: int


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine.

    A process that is already connected keeps its connection.

    Args:
        address: `auto`, `local`, or host and port of a cluster's head.

    Raises:
        MissingPackageError: Ray is not installed.
        ClusterError: there is no cluster, or it runs another version of Ray or Python.
        UsageError: the address is of another kind.

    """
    need("ray")
    if address == AUTO:  # Ray would take the address from there, without the checks
        address = os.environ.get("RAY_ADDRESS") or AUTO
    if address.startswith("ray://"):
        raise UsageError(
            "a batch cannot be started by Ray Client: run it on a machine of the cluster, or by "
            "`ray job submit`"
        )
    # Before Ray is imported: it sends no usage statistics from what is started here.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield
        return
    name = printable(address)
    _check_listening(address)
    if address == LOCAL:
        # Ray would give its processes a low priority; those of a batch without it have none.
        os.environ.setdefault("RAY_worker_niceness", "0")
    started = {"include_dashboard": False, "object_store_memory": _MEMORY}
    try:
        ray.init(
            address,
            logging_level=logging.CRITICAL,
            log_to_driver=False,
            **(started if address == LOCAL else {}),
        )
    except (ConnectionError, TimeoutError, ValueError, RuntimeError) as error:
        if address == AUTO:
            raise ClusterError(
                "this machine belongs to no Ray cluster: start one with `ray start --head`, or "
                f"name an address, or `{LOCAL}`"
            ) from error
        raise ClusterError(
            f"the Ray cluster at {name} cannot be used: {first_line(error)}"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Make sure that a server of Ray's may listen at an address: Ray itself tries for minutes.

    Ray's servers speak HTTP/2, in which both sides begin with settings (RFC 9113, 3.4).
    """
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(
            f"{printable(address)!r} is not the address of a Ray cluster, such as 10.0.0.1:6379, "
            f"`{AUTO}` or `{LOCAL}`"
        )
    try:
        with socket.create_connection((host, int(port)), _CONNECT_SECONDS) as connection:
            connection.sendall(_PREFACE)
            frame = connection.recv(_FRAME_HEADER, socket.MSG_WAITALL)
        if frame[3:4] != _SETTINGS:
            raise OSError("what listens there is not Ray")
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ClusterError(
            f"no Ray cluster at {printable(address)} ({reason}): check the address, or start one "
            "with `ray start --head`"
        ) from error


def actors(count: int | None, threads: int | None, *, gpus: bool | None = None) -> Actors:
    """Return what actors the cluster holds.

    Args:
        count: how many; by default one for each GPU or, without any, as many as fit.
        threads: processor threads of each where there are no GPUs; by default all of the smallest
            machine.
        gpus: whether they take GPUs; by default if there are any.

    Raises:
        ClusterError: no machine has what an actor takes.

    """
    resources = [node["Resources"] for node in _nodes()]
    on_gpus = sum(int(each.get("GPU", 0)) for each in resources)
    if gpus or (gpus is None and on_gpus):
        if not on_gpus:
            raise ClusterError("no machine of the cluster has a GPU: use the device cpu")
        return Actors(count or on_gpus, 1, 1)
    processors = [cpus for each in resources if (cpus := int(each.get("CPU", 0)))]
    cpus = threads or min(processors, default=0)
    fitting = sum(each // cpus for each in processors) if cpus else 0
    if not fitting:
        raise ClusterError(
            f"no machine of the cluster has {cpus or 1} free processors for an actor"
        )
    return Actors(count or fitting, cpus, 0)


def check(recipe: Recipe) -> None:
    """Make sure that all machines of the cluster would give the same rows.

    Each fetches the model if it has to. The machine that this runs on is not checked: the recipe
    was made there.

    Raises:
        ClusterError: one has another version of tagger or another model, or cannot be used.

    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

    attempt = ray.remote(num_cpus=0, max_retries=0)(_try)
    asked = []
    here = ray.get_runtime_context().get_node_id()
    for node in _nodes():
        if node["NodeID"] == here:
            continue
        place = On(node["NodeID"], soft=False)
        asked.append((node, attempt.options(scheduling_strategy=place).remote(recipe)))
    for node, answer in asked:
        try:
            ray.get(answer, timeout=_CHECK_SECONDS)
        except ray.exceptions.RayError as error:
            raise ClusterError(
                f"the machine {_name(node)} cannot be used: {reason(error)}"
            ) from error


def _try(recipe: Recipe) -> None:
    recipe.tagger()


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _name(node: dict[str, Any]) -> str:
    return printable(
        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}, {node['NodeID'][:8]})"
    )


def reason(error: BaseException) -> str:
    """Return in a line the cause of an error of Ray's."""
    ours = cause(error)
    return str(ours) if ours else first_line(error)


def cause(error: BaseException) -> TaggerError | None:
    """Return the error of tagger's that caused one of Ray's, if one did."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        # Ray raises errors that are both its own and ours, whose text is a traceback.
        if isinstance(each, TaggerError) and not hasattr(each, "cause"):
            return each
        waiting += [getattr(each, "cause", None), each.__cause__, each.__context__]
    return None


def first_line(error: BaseException) -> str:
    """Return the most informative line of an error's text: of a traceback, the last."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    traced = any(line.startswith("Traceback") or "ray::" in line for line in lines)
    return printable(lines[-1] if traced else lines[0])[:500]
