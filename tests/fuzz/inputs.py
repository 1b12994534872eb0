"""Lists of tags, dumps, tables and command lines, sound or not."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from fuzz.grammar import WORDS, damaged, mutated, size
from fuzz.readmes import File, short_readme, text

NAMES = ("http", "http-client", "game", "game engine", "cli", "C++", "web", "日本", 'a"b', "a\\b")

_ATOMS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, -0.0, 1e308, float("nan"), float("inf"), 2**31),
    *(2**63, -(2**63) - 1, 10**30, "", "x", "0", "auto", "none", "\0", "\ud800", [], {}),
)


def value(random: Random, deepest: int = 3) -> Any:
    """Return anything that JSON can say, and some that it cannot."""
    if deepest and random.random() < 0.4:
        values = [value(random, deepest - 1) for _ in range(random.randint(0, 3))]
        return values if random.random() < 0.5 else {random.choice(WORDS): v for v in values}
    return random.choice((*_ATOMS, *WORDS))


def as_json(random: Random, made: object) -> bytes:
    """Return JSON, one time in five no longer quite that."""
    whole = json.dumps(made, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    match random.randrange(10):
        case 0:
            return damaged(random, whole)
        case 1:
            return mutated(random, whole.decode("utf-8", "replace")).encode()
    return whole


# Lists of tags


def vocabulary(random: Random) -> bytes:
    """Return a list of tags, two times in three one that can be used."""
    count = size(random, 40)
    names = [_name(random) if random.random() < 0.5 else random.choice(NAMES) for _ in range(count)]
    made: Any = list(dict.fromkeys(names)) if random.random() < 0.9 else names
    if random.random() < 0.6:
        made = [_tag(random, name, number) for number, name in enumerate(made)]
    if random.random() < 0.2:
        made[random.randrange(len(made))] = value(random)
    if random.random() < 0.05:
        depth = size(random, 100_000)
        return b"[" * depth + b"]" * random.choice((0, depth))
    if random.random() < 0.05:
        made = value(random)
    return (b"\xef\xbb\xbf" if random.random() < 0.05 else b"") + as_json(random, made)


def _name(random: Random) -> str:
    made = "".join(random.choices((*WORDS, "-", " ", "x" * 90, '"', "\\"), k=random.randint(1, 4)))
    return made if random.random() < 0.5 else random.choice(NAMES) + made


def _tag(random: Random, name: str, number: int) -> dict[str, Any]:
    ids = (number, number, str(number), number + 2**63, -number, f"{name}{number}", "")
    made: dict[str, Any] = {"id": random.choice(ids), "name": name}
    if random.random() < 0.2:
        made["description"] = text(random, random.choice((200, 1_200)))
    if random.random() < 0.2:
        made["aliases"] = [_name(random) for _ in range(random.randint(0, 5))]
    if random.random() < 0.05:
        made[random.choice(("id", "name", "description", "aliases", "more"))] = value(random)
    return made


# Many READMEs in one file


@dataclass(frozen=True)
class Dump:
    """A file of READMEs.

    Attributes:
        name: the file's.
        data: what it holds.
        rows: how many READMEs a reader must find in it; None where it is damaged.

    """

    name: str
    data: bytes
    rows: int | None


def lines(random: Random) -> Dump:
    """Return JSON Lines, some of them bad."""
    made = b"\n".join(_line(random, number) for number in range(random.randint(1, 12)))
    made = (b"\xef\xbb\xbf" if random.random() < 0.05 else b"") + made
    return Dump("dump.jsonl", made, sum(bool(line.strip()) for line in made.split(b"\n")))


def _line(random: Random, number: int) -> bytes:
    row: dict[str, Any] = {"id": number, "readme": text(random, 1_000)}
    match random.randrange(12):
        case 0:
            row[random.choice(("id", "readme", "more"))] = value(random)
        case 1:
            row["id"] = random.choice((*WORDS, "y" * size(random, 100_000), number, str(number)))
        case 2:
            del row[random.choice(("id", "readme"))]
        case 3:
            depth = size(random, 100_000)
            opened, closed = random.choice(((b"[", b"]"), (b'{"a":', b"}"), (b'[{"id":', b"}]")))
            return opened * depth + b"1" + closed * depth
        case 4:
            return b'{"id": ' + b"9" * size(random, 10_000) + b', "readme": "x"}'
        case 5:
            return random.choice((b"", b"  ", b"\r", b"\x0b", b"null", b"[]", b'"x"', b"NaN"))
        case 6:
            return random.randbytes(size(random, 300)).replace(b"\n", b"")
    return as_json(random, row).replace(b"\n", b" ")


_UNITS = ("ms", "us", "ns")


def table(random: Random) -> Dump:
    """Return a Parquet file with columns of any type."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = random.randint(0, 12)
    names = random.choice((["id", "readme"],) * 8 + (["id"], ["id", "id"], ["readme", "id", "x.y"]))
    columns = [_column(random, pa, rows) for _ in names]
    for place, name in enumerate(names):
        if name == "readme" and random.random() < 0.6:
            columns[place] = pa.array([text(random, 500) for _ in range(rows)])
    sink = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(columns, names=names),
        sink,
        compression=random.choice(("none", "snappy", "zstd", "gzip")),
        row_group_size=random.choice((1, 3, 64)),
        use_dictionary=random.random() < 0.5,
        data_page_size=random.choice((64, 1024 * 1024)),
    )
    data = sink.getvalue()
    if random.random() < 0.25:
        return Dump("dump.parquet", damaged(random, data), None)
    return Dump("dump.parquet", data, rows)


def _column(random: Random, pa: Any, rows: int) -> Any:
    """Return a column of a type that pyarrow can write."""
    null = random.choice((0.0, 0.0, 0.3, 1.0))

    def of(values: Sequence[Any], kind: Any) -> Any:
        picked = [None if random.random() < null else random.choice(values) for _ in range(rows)]
        return pa.array(picked, kind)

    numbers = (0, 1, 2, 100)
    match random.randrange(16):
        case 0:
            return of((b"\xff\xfe", b"a\xc3", b"ok", b"\xed\xa0\x80"), pa.binary()).view(
                pa.string()
            )
        case 1:
            return of((b"\xff", b"ok"), pa.binary())
        case 2:
            return of(WORDS, pa.large_string())
        case 3:
            return of(WORDS, pa.string()).dictionary_encode()
        case 4:
            # Seconds are written as milliseconds, and so must fit when multiplied.
            unit, most = random.choice((("s", 10**15), *((unit, 2**63 - 1) for unit in _UNITS)))
            return of((0, most // 2, -most, most), pa.timestamp(unit))
        case 5:
            return of((0, -(2**31), 2**31 - 1), pa.date32())
        case 6:
            return of(numbers, random.choice((pa.time64("us"), pa.duration("s"), pa.uint8())))
        case 7:
            return of((2**64 - 1, 2**63), pa.uint64())
        case 8:
            return of((0.0, float("nan"), 1e300), pa.float64())
        case 9:
            return of(("1.50", "0"), pa.string()).cast(pa.decimal128(38, 2))
        case 10:
            return of(([], ["x"], ["x", None]), pa.list_(pa.string()))
        case 11:
            return of(({"a": 1}, {"a": None}), pa.struct([("a", pa.int64())]))
        case 12:
            return pa.nulls(rows)
        case 13:
            return of((True, False), pa.bool_())
        case 14:
            return of(("z" * size(random, 8_000_000), "y"), pa.string())
    return pa.array(range(rows)).cast(random.choice((pa.int64(), pa.int32(), pa.string())))


# Command lines


@dataclass(frozen=True)
class Command:
    """A call of `tagger batch` in a folder.

    Attributes:
        tags: the list of tags, which is sound.
        readmes: what lies in the folder.
        options: of the command.
        output: the output file's name, if there is one.

    """

    tags: bytes
    readmes: tuple[File, ...]
    options: tuple[str, ...]
    output: str | None


def command(random: Random) -> Command:
    """Return a batch over a few READMEs."""
    names = list(dict.fromkeys(_name(random)[:100] for _ in range(random.randint(1, 6))))
    tags = [_tag(random, name, number) for number, name in enumerate(names)]
    readmes = tuple(
        File(f"{_folder(random)}/{made.name}", made.data)
        for made in (short_readme(random) for _ in range(random.randint(1, 4)))
    )
    options = [f"--max-tags={random.randint(1, 4)}", f"--min-tags={random.randint(0, 1)}"]
    options += [f"--tags-as={random.choice(('objects', 'ids', 'names'))}"]
    options += random.choice(([], ["--scores"], ["--threshold=0"], ["--method=generate"]))
    options += [f"--id-from={random.choice(('relative', 'path', 'stem', 'parent'))}"]
    options += [f"--on-duplicate={random.choice(('suffix', 'keep-first', 'error'))}"]
    output = random.choice((None, "out.jsonl", "out.parquet"))
    return Command(json.dumps(tags).encode(), readmes, tuple(options), output)


def _folder(random: Random) -> str:
    """Return the name of a folder, or of folders within one another."""
    name = random.choice((*WORDS, "y" * 200, "-q", "*")).replace("/", "").replace("\0", "") or "x"
    return "/".join([name] * random.choice((1, 1, 3, 20)))[:1_500].rstrip("/")
