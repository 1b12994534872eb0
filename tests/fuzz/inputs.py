"""Lists of tags, dumps, tables, model folders, servers' answers and command lines, sound or not."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
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


def _json(random: Random, made: object) -> bytes:
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
    return (b"\xef\xbb\xbf" if random.random() < 0.05 else b"") + _json(random, made)


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
    return _json(random, row).replace(b"\n", b" ")


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
            far = (0, 10**18, -(2**63) + 1, 2**63 - 1)
            return of(far, pa.timestamp(random.choice(("s", "ms", "us", "ns"))))
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


# Model folders


_CONFIG: tuple[str, ...] = (
    *("attn_implementation", "_attn_implementation", "experts_implementation", "num_labels"),
    *("id2label", "label2id", "auto_map", "quantization_config", "layer_types", "model_type"),
    *("use_sliding_window", "sliding_window", "max_window_layers", "rope_parameters", "dtype"),
    *("rope_scaling", "rope_theta", "torch_dtype", "tie_word_embeddings", "eos_token_id"),
    *(
        "bos_token_id",
        "pad_token_id",
        "hidden_act",
        "architectures",
        "problem_type",
        "pruned_heads",
    ),
    *("is_encoder_decoder", "return_dict", "output_attentions", "use_cache", "torchscript"),
    *("chunk_size_feed_forward", "tokenizer_class", "vocab_size", "hidden_size", "rms_norm_eps"),
    *("intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    *("max_position_embeddings", "head_dim", "transformers_version", "attention_dropout"),
    *("initializer_range", "num_experts", "decoder_sparse_step", "mlp_only_layers", "per_layer"),
    *(
        "adapter",
        "peft_config",
        "_name_or_path",
        "base_model_tp_plan",
        "text_config",
        "name_or_path",
    ),
)
_CHOICES: tuple[Any, ...] = (
    *(
        "org/kernel",
        "flex_attention",
        "flash_attention_2",
        "paged|eager",
        "eager",
        "linear_attention",
    ),
    *("fp8", "float8_e4m3fn", "int8", "silu", "gelu_10", "qwen3", "qwen2_moe", "llama", "yarn"),
    *(
        10**9,
        4,
        32,
        64,
        512,
        2048,
        32768,
        {"rope_type": "yarn"},
        {"rope_type": "dynamic", "factor": 2},
    ),
    *({"quant_method": "fp8"}, {"quant_method": "bitsandbytes", "load_in_4bit": True}, [{}], [[1]]),
    *(["linear_attention"] * 2, ["sliding_attention"] * 2, {"AutoModelForCausalLM": "m.M"}, ["M"]),
)
_TEMPLATES = (
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    '{{ "a" * 20000000000 }}',
    "{{ messages.__class__.__mro__ }}",
    "{% include 'config.json' %}",
    "{{ raise_exception('no') }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
    "{{ '%999999999d' | format(1) }}",
    "{{ 9 ** 999999999 }}",
    "{{ range(10 ** 9) | list }}",
    "{{ messages | tojson }}",
    "{% set n = namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
)


@cache
def _model() -> dict[str, bytes]:
    """Return the files of a sound tiny model."""
    import tempfile

    import tiny

    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_bytes() for path in sorted(tiny.save(Path(folder)).iterdir())}


def model(random: Random) -> dict[str, bytes]:
    """Return the files of a model's folder with a few things changed."""
    files = dict(_model())
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        match random.randrange(10):
            case 0 | 1 | 2 | 3:
                _change(random, files, "config.json", _CONFIG)
            case 4:
                _change(random, files, "generation_config.json", ("eos_token_id", "chat_format"))
            case 5:
                keys = ("eos_token", "chat_template", "tokenizer_class", "auto_map", "pad_token")
                more = ("added_tokens_decoder", "model_max_length", "extra_special_tokens")
                _change(random, files, "tokenizer_config.json", keys + more)
            case 6:
                files["chat_template.jinja"] = random.choice(_TEMPLATES).encode()
                if random.random() < 0.5:
                    whole = _model()["chat_template.jinja"].decode()
                    files["chat_template.jinja"] = mutated(random, whole).encode("utf-8", "replace")
            case 7:
                places = {
                    "model.norm.weight": random.choice(("model.safetensors", "../x", "y" * 5_000))
                }
                index = {"metadata": {}, "weight_map": random.choice((places, value(random)))}
                files["model.safetensors.index.json"] = _json(random, index)
            case 8:
                name = random.choice(sorted(files))
                files[name] = damaged(random, files[name])
            case _:
                name = random.choice((*files, "adapter_config.json", "special_tokens_map.json"))
                files[name] = _json(random, value(random))
    return files


def _change(random: Random, files: dict[str, bytes], name: str, keys: tuple[str, ...]) -> None:
    """Give keys of a JSON file other values."""
    try:
        content = json.loads(files[name])
    except ValueError:  # changed before
        content = None
    if not isinstance(content, dict):
        content = {}
    key = random.choice((*keys, *content))
    odd = {"content": "<|im_end|>", "evil": 1, "special": True}
    content[key] = random.choice((value(random), random.choice(_CHOICES), odd))
    files[name] = json.dumps(content).encode()


# Servers' answers


_STATUS = (
    200,
    200,
    200,
    200,
    201,
    204,
    302,
    307,
    400,
    401,
    402,
    403,
    404,
    408,
    409,
    422,
    429,
    500,
    503,
)
_HEADERS = (
    *("Retry-After: -1", "Retry-After: nan", "Retry-After: 1e999", "retry-after-ms: 1"),
    *("Content-Encoding: gzip", "Content-Encoding: x", "Transfer-Encoding: chunked", "Location: /"),
    *("Location: file:///etc/passwd", "Content-Type: text/event-stream", "Connection: keep-alive"),
    *(
        "X: " + "y" * 70_000,
        "Content-Type: application/json; charset=utf-7",
        "x-should-retry: true",
    ),
    *("Content-Length: 5", "Content-Length: -1", "Set-Cookie: a=b", "\x00: \xff", " folded", ""),
)


def answers(random: Random) -> list[bytes]:
    """Return the bytes that a server sends to one request after another, the last for good."""
    return [_answer(random) for _ in range(random.choice((1, 1, 2, 4)))]


def _answer(random: Random) -> bytes:
    if random.random() < 0.05:
        return random.randbytes(random.randint(0, 300))
    status, body = random.choice(_STATUS), _body(random)
    if random.random() < 0.5:
        status = 200
    head = f"HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n"
    if random.random() < 0.9:
        head += f"Content-Length: {len(body)}\r\n"
    while random.random() < 0.2:
        head += random.choice(_HEADERS) + "\r\n"
    whole = (head + "\r\n").encode("latin-1") + body
    return damaged(random, whole) if random.random() < 0.05 else whole


def _body(random: Random) -> bytes:
    if random.random() < 0.15:
        errors = (
            "response_format",
            "temperature",
            "max_completion_tokens",
            "model " * 99,
            "no",
            "",
        )
        return _json(random, {"error": {"message": random.choice(errors)}})
    if random.random() < 0.1:
        return _json(random, value(random, 6))
    message: dict[str, Any] = {"role": "assistant", "content": _reply(random)}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
    if random.random() < 0.15:
        place = random.choice((message, choice, body))
        place[random.choice((*place, "refusal", "usage"))] = value(random)
    return _json(random, body)


def _reply(random: Random) -> str:
    """Return what a model writes: a reply, or something like one."""
    tags: list[Any] = random.choices((*NAMES, "unknown"), k=random.randint(0, 4))
    if random.random() < 0.1:
        tags = [value(random), *tags]
    made = json.dumps({"id": random.choice(("1375", "1375", "1375", 1375, "x")), "tags": tags})
    marks = (
        "/*",
        "//",
        "</think>",
        "<think>",
        "```json\n",
        "[",
        "{",
        '"',
        "'",
        '{"a":',
        "\\",
        "#",
        ",",
    )
    match random.randrange(8):
        case 0:
            return random.choice(marks) * size(random, 8_000) + made
        case 1:
            return made + "".join(random.choices(marks, k=size(random, 4_000)))
        case 2:
            return f"<think>{text(random, 500)}</think>Here you are:\n```json\n{made}\n```"
        case 3:
            return mutated(random, mutated(random, made))
        case 4:
            return text(random, 30_000)
        case 5:
            return made.replace('"', "'")
    return made


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
