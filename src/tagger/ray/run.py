"""`ClusterBatch`: a `Batch` whose READMEs are read on a Ray cluster."""

import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from tagger import __version__
from tagger._util.closing import Closing
from tagger._util.hashing import digest
from tagger._util.paths import real
from tagger._util.text import printable
from tagger.batch.ledger import Ledger
from tagger.batch.pipeline import OnDuplicate, Row, distinct
from tagger.errors import ClusterError, InputError, UsageError
from tagger.ray import cluster
from tagger.ray.blocks import Entry, Group, KeyedRow, block_of, groups_of, unpacked
from tagger.ray.cluster import Actors
from tagger.ray.parts import Parts
from tagger.ray.plan import Plan
from tagger.ray.worker import Recipe, Worker, shared
from tagger.readme.sources import Sources
from tagger.tagging import TagsAs
from tagger.vocabulary import Vocabulary

PART_ROWS = 10_000
PART_SECONDS = 15.0
"""A part is written after so many rows or so much time: the most that is lost if the command is
killed."""

CPU_BLOCK = 32 * 1024
GPU_BLOCK = 16 * 1024 * 1024
"""Bytes of READMEs that an actor gets at once: a handful of READMEs for a CPU, where each takes a
second, and thousands for a GPU, which reads those of similar length together and is idle at the
start of a block until the first are cleaned."""

_READERS = 4
"""Sources read at the same time."""

_CHUNK = 16
"""READMEs that a reader passes on at once."""

log = logging.getLogger(__name__)


class ClusterBatch(Closing):
    """Tags many READMEs on a Ray cluster, a row each; a context manager.

    The rows are those of `Batch`, in no particular order. Sources and output are files of the
    machine that this runs on; no other machine needs them. Entering it checks what can be checked
    without a model.

    Args:
        sources: where the READMEs are; no pipe, since a machine that is lost needs them again.
        vocabulary: the tags to choose from.
        output: a folder of Parquet files; see `Parts`. Another run of the same batch goes on there.
        restart: do all of it again and overwrite the output.
        on_duplicate: what to do with an id that comes twice.
        tags_as: how the output writes tags.
        scores: whether the output has confidences.

    """

    def __init__(
        self,
        sources: Sources,
        vocabulary: Vocabulary,
        *,
        output: Path,
        restart: bool = False,
        on_duplicate: OnDuplicate = "error",
        tags_as: TagsAs = "objects",
        scores: bool = False,
    ) -> None:
        self._sources = sources
        self._vocabulary = vocabulary
        self._output = output
        self._restart = restart
        self._on_duplicate: OnDuplicate = on_duplicate
        self._tags_as: TagsAs = tags_as
        self._scores = scores
        self._stack = ExitStack()
        self._waiting: list[KeyedRow] = []
        self.total = 0
        """How many READMEs there are, and after `run` how many have no row yet."""
        self.stopped = False
        """Whether `stop` was called."""
        self.preparing = False
        """Whether machines are being checked or actors started, and none has given a row."""

    def __enter__(self) -> Self:
        """Check sources and output, and read every README once.

        Raises:
            InputError: there are no READMEs, or an id comes twice, and that is to stop the batch.
            UsageError: the output cannot be this batch's, or a source is a pipe.
            OutputError: the output cannot be written.

        """
        if self._output.suffix.lower() != ".parquet":
            raise UsageError(
                f"{printable(str(self._output))}: on a cluster a folder of Parquet files is "
                "written: give the output a name that ends in .parquet"
            )
        if not self._sources.rereadable:
            raise UsageError(
                "a pipe cannot be read again when a machine is lost: write it to a file first"
            )
        own = frozenset({real(self._output)})
        self._sources_of = [
            replace(self._sources, paths=(path,), own=own) for path in self._sources.paths
        ]
        with ExitStack() as stack:
            self._parts = stack.enter_context(
                Parts(
                    self._output,
                    self._vocabulary,
                    self._tags_as,
                    scores=self._scores,
                    restart=self._restart,
                )
            )
            self._plan = stack.enter_context(Plan())
            self._survey()
            self.total = self._plan.missing()
            self._stack = stack.pop_all()
        return self

    def close(self) -> None:
        """Write the rows that are not on disk yet, and unlock the output."""
        try:
            self._write()
        finally:
            self._stack.close()

    def run(self, recipe: Recipe, actors: Actors) -> Iterator[Row]:
        """Yield a row for every README that has none; it is on disk some seconds later.

        Args:
            recipe: how taggers are made, with the vocabulary of this batch.
            actors: how many, and what each takes.

        Raises:
            UsageError: the output was begun with something else.
            ClusterError: a machine cannot be used, or the cluster is lost.
            InputError: a source has changed in the meantime.
            ModelError: the model cannot be used.
            OutputError: the output cannot be written.

        """
        self._made_with = {
            **shared(recipe.identity).values(),
            "selection of tags": asdict(recipe.selection),
            "form of tags": [self._tags_as, self._scores],
            "list of tags": digest([[tag.id, tag.name] for tag in self._vocabulary]),
            "version of tagger": __version__,
        }
        self._parts.begin(self._made_with)
        self._settle()
        found, self.total = self.total, self._plan.missing()
        if self.total < found:
            log.info("%d of %d READMEs have their rows already", found - self.total, found)
        return self._rows(recipe, actors)

    def stop(self) -> None:
        """Let `run` end with the next rows; another run goes on."""
        self.stopped = True

    def _survey(self) -> None:
        """Read every README and plan the batch, before any model is loaded."""
        sound, fault = False, None
        with Ledger(None) as ledger:
            for number, source in enumerate(self._sources_of):
                for item in distinct(source, ledger, self._on_duplicate):
                    sound, fault = sound or item.sound, fault or item
                    self._plan.add(number, Entry.of(item))
        if fault is None:
            raise self._sources.nothing_found()
        if not sound:
            fault.read()  # raises its error, which is most likely that of all others

    def _settle(self) -> None:
        """Remove unwanted rows from the parts, and rows that are there from the plan."""
        for path, found in self._parts.rows():
            wanted = [bool(key) and self._plan.settle(id_, key) for id_, key in found]
            if not all(wanted):
                self._parts.keep(path, wanted)

    def _rows(self, recipe: Recipe, actors: Actors) -> Iterator[Row]:
        self._written = time.monotonic()
        for failed in self._plan.failures():
            yield self._take(KeyedRow(Row(failed), b""))
        blocks = [
            table for number in range(len(self._sources_of)) if (table := self._block(number))
        ]
        if blocks and not self.stopped:
            self.preparing = True
            cluster.check(recipe)
            for tagged in self._read(blocks, recipe, actors):
                yield self._take(tagged)
        if not self.stopped:
            self._write()
            self._parts.finish(self._made_with)

    def _take(self, tagged: KeyedRow) -> Row:
        """Keep a row, and write a part if it is time."""
        self._waiting.append(tagged)
        late = time.monotonic() - self._written > PART_SECONDS
        if late or len(self._waiting) >= PART_ROWS:
            self._write()
        return tagged.row

    def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._parts.write(waiting)
        self._written = time.monotonic()

    def _block(self, number: int) -> Any:
        """Return what is to be read in a source as an Arrow table, or None."""
        groups = (
            Group(key, place, tuple(named)) for place, key, named in self._plan.groups(number)
        )
        table = block_of(groups)
        if not table.num_rows:
            return None
        import pyarrow

        return table.append_column("source", pyarrow.array([number] * table.num_rows))

    def _read(self, blocks: list[Any], recipe: Recipe, actors: Actors) -> Iterator[KeyedRow]:
        """Yield the rows of what is to be read."""
        import ray

        silence()
        found = ray.data.from_arrow(blocks).map_batches(
            partial(_texts, self._sources_of),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=0,
            concurrency=_READERS,
            label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},
        )
        found.context.target_max_block_size = GPU_BLOCK if actors.gpus else CPU_BLOCK
        tagged = on_actors(found, recipe, actors)
        batches = tagged.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        try:
            with reporting():
                for table in batches:
                    self.preparing = False
                    yield from unpacked(table)
                    if self.stopped:
                        return
        finally:
            self.preparing = False


def on_actors(dataset: Any, recipe: Recipe, actors: Actors, **options: Any) -> Any:
    """Return a Ray Dataset of blocks of READMEs as one of rows; see `Worker`."""
    import ray

    return dataset.map_batches(
        Worker,
        fn_constructor_args=(recipe,),
        fn_constructor_kwargs=options,
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=actors.cpus,
        num_gpus=actors.gpus or None,
        compute=ray.data.ActorPoolStrategy(size=actors.count, max_tasks_in_flight_per_actor=2),
    )


def silence() -> None:
    """Turn off the messages of Ray Data, whose errors become ours."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"ray\.data")


def _texts(sources: list[Sources], block: Any) -> Iterator[Any]:
    """Yield READMEs of a source in blocks.

    Args:
        sources: all of them.
        block: what is wanted of one, with places where the texts belong.

    Raises:
        InputError: a README is not there any more, or is another.

    """
    number = block["source"][0].as_py()
    wanted = {(each.text, each.key): each for each in groups_of(block)}
    places = {place for place, _ in wanted}
    chunk: list[Group] = []
    for item in sources[number]:
        if item.place not in places:
            continue
        entry = Entry.of(item)
        if group := wanted.pop((item.place, entry.key), None):
            chunk.append(replace(group, text=entry.text))
        if len(chunk) == _CHUNK:
            yield block_of(chunk)
            chunk = []
    if wanted:
        place = next(iter(wanted))[0]
        raise InputError(f"{place}: has changed since the batch began: run the same command again")
    if chunk:
        yield block_of(chunk)


@contextmanager
def reporting() -> Iterator[None]:
    """Turn what Ray raises into one of our errors, in a line.

    Raises:
        TaggerError: what was raised on a machine.
        ClusterError: something else has failed.

    """
    import ray

    try:
        yield
    except (ray.exceptions.RayError, OSError) as error:
        if found := cluster.cause(error):
            raise found from error
        raise ClusterError(
            f"the cluster failed ({cluster.first_line(error)}): run the same again"
        ) from error
