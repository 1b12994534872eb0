"""The output of a batch on a cluster: a folder of Parquet files, each written whole or not at all.

Each part holds rows, and in its metadata what they were made with and the keys of their texts.
So a batch that was killed can do only the rows that are missing.
`_manifest.json` is written last and removed while rows are missing: where it is, all rows are.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tagger._util.closing import Closing
from tagger._util.extras import arrow
from tagger._util.files import check_own_file, replacing, reporting, write_atomically
from tagger._util.hashing import digest
from tagger._util.text import printable
from tagger.batch import tables
from tagger.errors import OutputError, UsageError
from tagger.ray.blocks import KeyedRow
from tagger.tagging import TagsAs
from tagger.vocabulary import Vocabulary

MANIFEST = "_manifest.json"
UNFINISHED = "_unfinished.json"
"""The manifest of a folder in which rows are missing."""

_LOCK = "_lock"
_PARTS = "part-*.parquet"
_METADATA = b"tagger"
_KEY_BYTES = 32
_MAX_MANIFEST = 16 * 1024 * 1024

_RESTART = "choose another output, or start over with --restart"

log = logging.getLogger(__name__)


class Parts(Closing):
    """The folder of an output, locked for other processes; a context manager.

    Args:
        folder: the folder; made if it is not there.
        vocabulary: the tags that rows may have.
        tags_as: how the table writes tags.
        scores: whether it has confidences.
        restart: remove what an earlier run has written.

    Raises:
        UsageError: the folder is something else, or holds what no batch on a cluster has written,
            or another process has it; or a table cannot hold the vocabulary.
        OutputError: it cannot be written.

    """

    def __init__(
        self,
        folder: Path,
        vocabulary: Vocabulary,
        tags_as: TagsAs,
        *,
        scores: bool,
        restart: bool = False,
    ) -> None:
        tables.check_table(vocabulary, tags_as, scores=scores)
        self._folder = folder
        self._name = printable(str(folder))
        self._vocabulary = vocabulary
        self._tags_as: TagsAs = tags_as
        self._scores = scores
        self._made_with = ""
        self._check()
        with reporting(self._name), ExitStack() as stack:
            folder.mkdir(exist_ok=True)
            check_own_file(folder / _LOCK)  # taking a lock empties its file
            lock = FileLock(folder / _LOCK)
            try:
                stack.enter_context(lock.acquire(blocking=False))
            except Timeout as error:
                raise UsageError(
                    f"{self._name} is in use by another tagger batch: wait for it to end"
                ) from error
            for left in folder.glob(".tagger-*.part"):
                left.unlink()
            if restart:
                for path in (*folder.glob(_PARTS), folder / MANIFEST, folder / UNFINISHED):
                    path.unlink(missing_ok=True)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Unlock the folder."""
        self._stack.close()

    def begin(self, made_with: dict[str, Any]) -> None:
        """Record what rows are made with from now on.

        Args:
            made_with: all that rows depend on apart from their READMEs, by names for messages;
                anything that JSON can write.

        Raises:
            UsageError: the folder has parts that were made with something else.
            OutputError: it cannot be written.

        """
        self._made_with = digest(made_with)
        for name in (MANIFEST, UNFINISHED):
            before = self._manifest(name)
            if before is None:
                continue
            others = before.get("made_with")
            if not isinstance(others, dict):
                raise self._damaged_manifest(name)
            different = [what for what, value in made_with.items() if others.get(what) != value]
            if different:
                raise UsageError(
                    f"{self._name} holds parts with another {' and '.join(different)}: {_RESTART}"
                )
        self._write(UNFINISHED, {"made_with": made_with})

    def rows(self) -> Iterator[tuple[Path, list[tuple[str, bytes]]]]:
        """Yield each part, and id and key of its rows that hold tags; other rows have no key.

        Raises:
            UsageError: a part is damaged, or was made with something else.

        """
        for path in sorted(self._folder.glob(_PARTS)):
            table = self._table(path, ["id", "error"])
            all_keys = self._keys(path, table)
            failed = table.column("error").is_valid().to_pylist()
            keys = (b"" if bad else key for bad, key in zip(failed, all_keys, strict=True))
            yield path, list(zip(table.column("id").to_pylist(), keys, strict=True))

    def keep(self, path: Path, wanted: Sequence[bool]) -> None:
        """Leave only the rows of a part that are wanted. Raises as `rows` and `write`."""
        (self._folder / MANIFEST).unlink(missing_ok=True)
        if any(wanted):
            table = self._table(path)
            keys = [key for key, keep in zip(self._keys(path, table), wanted, strict=True) if keep]
            self._put(table.filter(arrow().array(wanted)), keys)
        with reporting(self._name):
            path.unlink()

    def write(self, rows: Sequence[KeyedRow]) -> None:
        """Write rows as a part of their own.

        Raises:
            OutputError: it cannot be written.

        """
        (self._folder / MANIFEST).unlink(missing_ok=True)
        lines = [each.row.to_json(self._tags_as, scores=self._scores) for each in rows]
        table = tables.table_of(lines, self._vocabulary, self._tags_as, scores=self._scores)
        self._put(table, [each.key for each in rows])

    def finish(self, made_with: dict[str, Any]) -> None:
        """Write the manifest: all rows are there. Raises `OutputError`."""
        rows = failed = 0
        names = []
        for path, found in self.rows():
            names.append(path.name)
            rows += len(found)
            failed += sum(not key for _, key in found)
        self._write(
            MANIFEST, {"made_with": made_with, "rows": rows, "failed": failed, "parts": names}
        )
        with reporting(self._name):
            (self._folder / UNFINISHED).unlink(missing_ok=True)

    def _check(self) -> None:
        """Refuse a folder that is not ours."""
        check_own_file(self._folder)
        if not self._folder.parent.is_dir():
            raise OutputError(
                f"there is no folder {printable(str(self._folder.parent))} to write into"
            )
        if not self._folder.exists():
            return
        if not self._folder.is_dir():
            raise UsageError(
                f"{self._name} is a file, and on a cluster a folder is written: name another output"
            )
        ours = any((self._folder / name).is_file() for name in (MANIFEST, UNFINISHED))
        if not ours and any(path.name != _LOCK for path in self._folder.iterdir()):
            raise UsageError(
                f"{self._name} already exists, but is perhaps not the output of a batch on a "
                f"cluster ({MANIFEST} is missing): choose another output, or delete it"
            )

    def _manifest(self, name: str) -> dict[str, Any] | None:
        """Return a manifest that is there."""
        path = self._folder / name
        if not path.is_file():
            return None
        try:
            with path.open("rb") as file:
                manifest = json.loads(file.read(_MAX_MANIFEST))
        except (OSError, ValueError, RecursionError) as error:
            raise self._damaged_manifest(name) from error
        if not isinstance(manifest, dict):
            raise self._damaged_manifest(name)
        return manifest

    def _write(self, name: str, manifest: dict[str, Any]) -> None:
        with reporting(self._name):
            write_atomically(self._folder / name, json.dumps(manifest, indent=1) + "\n")

    def _put(self, table: Any, keys: Sequence[bytes]) -> None:
        """Write a part under a name derived from its keys and ids."""
        joined = b"".join(_padded(key) for key in keys).hex()
        metadata = {"made_with": self._made_with, "keys": joined}
        table = table.replace_schema_metadata({_METADATA: json.dumps(metadata)})
        ids = "\n".join(table.column("id").to_pylist())
        name = hashlib.sha256(f"{joined}\n{ids}".encode()).hexdigest()[:20]
        path = self._folder / f"part-{name}.parquet"
        with reporting(self._name), replacing(path) as part:
            arrow().parquet.write_table(table, part)

    def _table(self, path: Path, columns: list[str] | None = None) -> Any:
        pyarrow = arrow()
        try:
            return pyarrow.parquet.ParquetFile(path).read(columns=columns)
        except (OSError, ValueError, LookupError, pyarrow.ArrowException) as error:
            raise self._damaged(path.name) from error

    def _keys(self, path: Path, table: Any) -> list[bytes]:
        """Return the keys of a part's rows. Raises `UsageError`."""
        try:
            metadata = json.loads((table.schema.metadata or {})[_METADATA])
            joined = bytes.fromhex(metadata["keys"])
            made_with = metadata["made_with"]
        except (LookupError, TypeError, ValueError) as error:
            raise self._damaged(path.name) from error
        if len(joined) != _KEY_BYTES * table.num_rows or made_with != self._made_with:
            raise self._damaged(path.name)
        return [joined[start : start + _KEY_BYTES] for start in range(0, len(joined), _KEY_BYTES)]

    def _damaged_manifest(self, name: str) -> UsageError:
        return UsageError(f"{self._name}: {name} is damaged: {_RESTART}")

    def _damaged(self, name: str) -> UsageError:
        return UsageError(
            f"{self._name}: {printable(name)} is damaged, or of another batch: remove it and run "
            "the same command again, or start over with --restart"
        )


def _padded(key: bytes) -> bytes:
    """Return a key in its full length; that of a README that cannot be read is empty."""
    return key.ljust(_KEY_BYTES, b"\0")
