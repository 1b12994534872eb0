"""`tag`: a Ray Dataset of READMEs as one of their tags."""

import re
from collections.abc import Callable, Iterable
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from tagger._util.extras import need
from tagger._util.text import printable
from tagger.batch import tables
from tagger.errors import InputError
from tagger.ray import cluster
from tagger.ray.blocks import Entry, Group, KeyedRow, block_of, groups_of
from tagger.ray.run import on_actors, reporting
from tagger.ray.worker import Recipe
from tagger.readme.sources import Sources
from tagger.selection import Selection
from tagger.types import DEFAULT_MODEL, README_TOKENS
from tagger.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tagger.methods.rank.calibration import Calibration
    from tagger.methods.rank.head import Head
    from tagger.methods.rank.rank import Rank
    from tagger.models.language import LanguageModel
    from tagger.prompts.prompt import PromptTemplate

_IDS = re.compile(r"(large_)?string(_view)?|u?int\d+|null|object")
"""Types of columns whose ids are text or whole numbers, as Arrow and pandas call them."""

_CPU_ROWS, _GPU_ROWS = 16, 2048
"""READMEs that an actor is given at once, for a CPU and for a GPU; see `CPU_BLOCK`."""


def tag(
    dataset: Any,
    vocabulary: Vocabulary,
    selection: Selection | None = None,
    *,
    model: str = DEFAULT_MODEL,
    template: "PromptTemplate | None" = None,
    calibration: "Calibration | None" = None,
    head: "Head | Literal['shipped'] | None" = "shipped",
    readme_tokens: int = README_TOKENS,
    id_column: str = "id",
    readme_column: str = "readme",
    concurrency: int | None = None,
    threads: int | None = None,
    gpus: bool | None = None,
) -> Any:
    """Return a `ray.data.Dataset` of READMEs as one of their tags.

    Its rows are those of `tagger batch --scores -o out.parquet`, in no particular order: `id`,
    `tags` (a list of structs of `id`, `name` and `confidence`), `error` (a struct of `type` and
    `message`, null where there are tags), `suspicious` and `source`. A README that cannot be tagged
    is a row with an error. Ids are not compared.

    The call checks the machines, and reads the dataset once to find equal READMEs, which go through
    the model once. The texts need room in Ray's object store or on its disks. Tags are computed
    when the result is used.

    Args:
        dataset: a `ray.data.Dataset` with a column of ids and one of texts.
        vocabulary: the tags to choose from.
        selection: how many tags are given, and from which confidence.
        model: a name of the catalogue or a Hub id, which each machine fetches once, or a folder
            that all of them have under the same path, this one included.
        template: the prompt; see `Rank`, as for the next three.
        calibration: turns evidence into confidences.
        head: what was learned from labels.
        readme_tokens: the most tokens that are read of a README.
        id_column: the column of ids, text or whole numbers.
        readme_column: the column of texts.
        concurrency: how many models there are; by default one for each GPU or, without any, as
            many as fit.
        threads: processor threads of each, where there are no GPUs; by default all of the smallest
            machine.
        gpus: whether models run on GPUs; by default if the cluster has any.

    Raises:
        MissingPackageError: Ray is not installed.
        InputError: the dataset lacks a column, its ids are of another type, or its rows cannot be
            read.
        ClusterError: a machine has another version of tagger or another model, or cannot be used.
        ModelError: the model cannot be used.
        UsageError: a table cannot hold the vocabulary.

    """
    need("ray")
    from tagger.methods.rank.rank import Rank  # here: importing this module takes no PyTorch

    tables.check_table(vocabulary, "objects", scores=True)
    sources = Sources((), id_field=id_column, readme_field=readme_column)
    with reporting():
        schema = dataset.schema()
        names = schema.names
    for column in (id_column, readme_column):
        if column not in names:
            raise InputError(
                f"the dataset has no column {column!r} among {printable(', '.join(names))[:500]}"
            )
    kind = str(schema.types[names.index(id_column)])
    if not _IDS.fullmatch(kind):
        raise InputError(
            f"the column {id_column!r} of the dataset holds {printable(kind)[:100]}: ids are text "
            "or whole numbers"
        )
    actors = cluster.actors(concurrency, threads, gpus=gpus)
    open_method = partial(
        _open,
        model,
        device="cuda" if actors.gpus else "cpu",
        threads=None if actors.gpus else actors.cpus,
        make=partial(
            Rank,
            vocabulary=vocabulary,
            template=template,
            calibration=calibration,
            readme_tokens=readme_tokens,
            head=head,
        ),
    )
    identity = open_method(device="cpu", threads=None).identity
    recipe = Recipe(open_method, selection or Selection(), identity)
    cluster.check(recipe)
    found = dataset.map_batches(partial(_groups, sources), batch_size=None, batch_format="pyarrow")
    joined = found.sort("key").map_batches(_merged, batch_size=None, batch_format="pyarrow")
    with reporting():
        # At once, and not when the result is used: by then the actors have all processors.
        distinct = joined.repartition(
            target_num_rows_per_block=_GPU_ROWS if actors.gpus else _CPU_ROWS
        ).materialize()
    return on_actors(distinct, recipe, actors, pack=partial(_table, vocabulary))


def _open(
    model: str, *, device: str, threads: int | None, make: "Callable[[LanguageModel], Rank]"
) -> "Rank":
    """Make the method on this machine."""
    from tagger.models.load import load

    return make(load(model, device=device, threads=threads, lazy=True))


def _groups(sources: Sources, block: Any) -> Any:
    """Return rows of the dataset as a block of READMEs, all of them on their own."""
    columns = [sources.id_field, sources.readme_field]
    rows = block.select(columns).to_pylist()
    return block_of(
        Group.of(Entry.of(sources.item(row, "unknown", _place(row[sources.id_field]))))
        for row in rows
    )


def _place(id_: object) -> str:
    """Return where a README is, for messages. It must not end like a file name."""
    return f"the README {printable(str(id_))[:200]!r}"


def _merged(block: Any) -> Any:
    """Return a block, sorted by keys, with one row for equal READMEs."""
    merged = []
    for key, equal in groupby(groups_of(block), key=lambda group: group.key):
        groups = list(equal)
        if key:
            named = tuple(name for group in groups for name in group.named)
            merged.append(Group(key, groups[0].text, named))
        else:  # they cannot be read, each for a reason of its own
            merged += groups
    return block_of(merged)


def _table(vocabulary: Vocabulary, rows: Iterable[KeyedRow]) -> Any:
    lines = [tagged.row.to_json(scores=True) for tagged in rows]
    return tables.table_of(lines, vocabulary, "objects", scores=True)
