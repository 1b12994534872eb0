"""What an actor does: it tags blocks of READMEs by the same pipeline as a batch on one machine."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from tagger import __version__
from tagger.batch.ledger import Ledger
from tagger.batch.pipeline import Pipeline, Row
from tagger.errors import ClusterError
from tagger.methods.base import Identity, Method
from tagger.ray.blocks import KeyedRow, groups_of, packed
from tagger.selection import Selection
from tagger.tagger import Tagger

# As the command itself does, for machines where Ray has started this process: PyTorch reads it when
# it first allocates, and huge pages save a fifth of the time of a pass on a CPU.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@dataclass(frozen=True)
class Recipe:
    """How a tagger is made on another machine, and what it must be to be the same there.

    Attributes:
        open: makes the method; whatever it holds can be pickled.
        selection: how many tags are given.
        identity: what its rankings must depend on.
        batch_tokens: tokens of a pass on a GPU; see `Batch.run`.
        version: of tagger.

    """

    open: Callable[[], Method[Any]]
    selection: Selection
    identity: Identity
    batch_tokens: int | None = None
    version: str = __version__

    def tagger(self) -> Tagger[Any]:
        """Make the tagger here; its weights are read when they are first needed.

        Raises:
            ClusterError: this machine has another version of tagger, or another model.
            TaggerError: the model cannot be used here.

        """
        if __version__ != self.version:
            raise ClusterError(
                f"it has tagger {__version__}, and the batch was started with {self.version}: "
                "install the same version everywhere"
            )
        tagger = Tagger(self.open(), self.selection)
        if differences := shared(tagger.method.identity).differences(self.identity):
            raise ClusterError(
                f"it has another {' and '.join(differences)} than the machine that started the "
                "batch: give all of them the same files"
            )
        return tagger


class Worker:
    """Loads a model once, and tags blocks of READMEs with it.

    Args:
        recipe: how the tagger is made.
        pack: makes a table of the rows of a block.

    """

    def __init__(self, recipe: Recipe, pack: Callable[[Iterable[KeyedRow]], Any] = packed) -> None:
        self._recipe = recipe
        self._pack = pack
        self._tagger: Tagger[Any] | None = None

    def __call__(self, block: Any) -> Any:
        """Tag the READMEs of an Arrow table of `block_of`; return what `pack` makes of the rows.

        Raises:
            TaggerError: the model cannot be used here.

        """
        if self._tagger is None:  # not in the constructor: Ray restarts actors whose fails
            self._tagger = self._recipe.tagger()
        groups = list(groups_of(block))
        failed = [KeyedRow(Row(each.failure), each.key) for each in groups if each.failure]
        groups = [each for each in groups if not each.failure]
        keys = [group.key for group in groups for _ in group.named]
        method = self._tagger.method
        with _Unnamed(None) as ledger:
            ledger.use(method.identity, method.reading_identity)
            pipeline = Pipeline(self._tagger, ledger, batch_tokens=self._recipe.batch_tokens)
            rows = list(pipeline.rows(item for group in groups for item in group.items()))
        return self._pack([*failed, *map(KeyedRow, rows, keys)])


class _Unnamed(Ledger):
    """The memory of one block. Ids that come twice were dealt with before."""

    def meet(self, id_: str, place: str) -> tuple[str, int] | None:  # noqa: ARG002
        return None


def shared(identity: Identity) -> Identity:
    """Return what must be the same on all machines.

    Processors may differ. As on one machine, that changes the last digits of confidences.
    """
    return replace(identity, machine="")
