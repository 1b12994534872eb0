"""`tagger batch --ray`: its options, and keeping off the terminal what Ray prints."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from tagger._util.extras import need
from tagger.cli.messages import Messages
from tagger.cli.options import MethodOptions, ModelOptions
from tagger.errors import UsageError

if TYPE_CHECKING:
    from tagger.batch.pipeline import Row
    from tagger.methods.base import Method
    from tagger.ray.run import ClusterBatch
    from tagger.selection import Selection


class Opener(Protocol):
    """Returns a function that makes the method, with these options of the model."""

    def __call__(self, model: ModelOptions, *, quiet: bool) -> "Callable[[], Method[Any]]":
        """Return the function."""


def check(address: str, method: MethodOptions, *, to_file: bool) -> None:
    """Refuse options that do not go with a cluster.

    Raises:
        UsageError: they do not.
        MissingPackageError: Ray is not installed.

    """
    if not address:
        raise UsageError("--ray is empty: name an address, `auto` or `local`")
    if method.endpoint:
        raise UsageError("--ray does not go with --endpoint: raise --concurrency instead")
    if not to_file:
        raise UsageError("--ray works only with -o FILE.parquet")
    need("ray")


@contextmanager
def ray_muted() -> Iterator[None]:
    """Keep off the terminal what Ray itself prints; our own messages are shown.

    Its parts in C++ report lost machines and repeated calls on standard error, whatever the log
    level. Others print to standard output.
    """
    with ExitStack() as undo, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        undo.enter_context(redirect_stdout(nowhere))
        with suppress(OSError):  # where it is closed, nothing can be printed to it
            if sys.stderr.fileno() == 2:
                sys.stderr.flush()
                kept = os.dup(2)
                ours = undo.enter_context(open(kept, "w"))  # noqa: PTH123
                undo.enter_context(redirect_stderr(Messages(ours)))
                os.dup2(nowhere.fileno(), 2)
                undo.callback(os.dup2, kept, 2)
        yield


def run(
    work: "ClusterBatch",
    opener: Opener,
    model: ModelOptions,
    method: MethodOptions,
    selection: "Selection",
    batch_tokens: int | None,
) -> "Iterator[Row]":
    """Run a batch on the cluster that this process is connected to; raises as `ClusterBatch.run`.

    The model is opened here, too, without its weights, to know what the other machines must have.
    """
    from tagger.ray.cluster import actors
    from tagger.ray.worker import Recipe
    from tagger.tagger import Tagger

    pool = actors(
        method.concurrency,
        model.threads,
        gpus=None if model.device == "auto" else model.device.startswith("cuda"),
    )
    device = "cuda" if pool.gpus else "cpu"
    threads = None if pool.gpus else pool.cpus
    here = Tagger(opener(replace(model, device="cpu"), quiet=False)(), selection)
    there = opener(replace(model, device=device, threads=threads), quiet=True)
    return work.run(Recipe(there, selection, here.method.identity, batch_tokens), pool)
