"""What must hold for each kind of input, asked of the package as its users ask it."""

import contextlib
import io
import json
import logging
import math
import re
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from fuzz import folders, inputs, readmes, replies
from fuzz.inputs import Command, Dump
from fuzz.readmes import File
from fuzz.runner import Kind
from support import tiny
from tagger import (
    Endpoint,
    Rank,
    Readme,
    Selection,
    Sources,
    Tagger,
    Vocabulary,
    load,
)
from tagger.batch.ledger import Ledger
from tagger.batch.pipeline import Pipeline
from tagger.errors import (
    EndpointError,
    InputError,
    ModelError,
    ReadmeError,
    VocabularyError,
)
from tagger.methods.rank.mentions import Mentions
from tagger.models import template
from tagger.tagging import Failure, Tagging
from tagger.vocabulary_lint import problems

_MAX_TAGS = 3
_SELECTION = Selection(max_tags=_MAX_TAGS)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_TAGS = Vocabulary.from_names(inputs.NAMES)


class Broken(Exception):  # noqa: N818 (the report calls it so)
    """Something that must hold does not."""


def must(holds: object, message: str) -> None:
    """Raise `Broken` unless something holds."""
    if not holds:
        raise Broken(message)


def check_readme(file: File) -> None:
    """Reading, cleaning and tokenising ends, or says in one line what is wrong with the README."""
    with _folder({file.name: file.data}) as folder:
        try:
            words = Readme.read(folder / file.name).plain_text
        except ReadmeError as error:
            _one_line(error)
            return
    check_words(words)


def check_words(words: str) -> None:
    """Words are Unicode, hold no control token for the model, and are searched for tags."""
    words.encode()
    tokenizer = _model().tokenizer
    controls = set(tokenizer.control_ids()) & set(tokenizer.encode(words))
    must(not controls, f"control tokens {controls}")
    counts = _mentions().count(words)
    must(counts.isfinite().all() and counts.min() >= 0, "mentions are no numbers")


def check_ranked(file: File) -> None:
    """A README gets one row: tags of the list, or why there are none."""
    with _folder({file.name: file.data}) as folder:
        path = str(folder / file.name)
        (reply,) = _replies(_tagger(), Sources((path,)))
        must(reply.id == path, f"a row of another README: {reply.id}")
        _sound(reply, _TAGS, {"ReadmeError"})


def check_dump(dump: Dump) -> None:
    """Each row of a dump gets one row, or the dump as a whole is refused."""
    with _folder({dump.name: dump.data}) as folder:
        try:
            found = _replies(_tagger(), Sources((str(folder / dump.name),)))
        except InputError as error:
            _one_line(error)
            must(dump.name.endswith(".parquet"), f"one line stops the whole batch: {error}")
            return
    must(dump.rows is None or len(found) == dump.rows, f"{len(found)} rows for {dump.rows}")
    for reply in found:
        _sound(reply, _TAGS, {"ReadmeError"})


def check_vocabulary(data: bytes) -> None:
    """A list of tags is refused in one line, or a model gives tags of it and no others."""
    with contextlib.suppress(ValueError, RecursionError):
        entries = json.loads(data)
        if isinstance(entries, list):
            for problem in problems(entries):
                must("\n" not in problem, "a problem of several lines")
    try:
        vocabulary = Vocabulary.from_json(data)
        tagger = Tagger(Rank(_model(), vocabulary), _SELECTION)
        (reply,) = tagger.tag([Readme("1", "A web server of the game engine.")])
    except VocabularyError as error:
        _one_line(error)
        return
    _sound(reply, vocabulary, set())


def check_model(files: dict[str, bytes]) -> None:
    """A model's folder is refused in one line, or tags; nothing else goes to standard output."""
    with _folder(files) as folder, contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            model = load(str(folder), device="cpu", dtype="float32", offline=True)
            tagger = Tagger(Rank(model, _TAGS), _SELECTION)
            (reply,) = tagger.tag([Readme("1", "A web server of the game engine.")])
        except (ModelError, VocabularyError) as error:  # a context too short for the list
            _one_line(error)
        else:
            _sound(reply, _TAGS, set())
    must(not printed.getvalue(), f"standard output has {printed.getvalue()[:80]!r}")


def check_answers(answers: list[bytes]) -> None:
    """Whatever a server sends becomes tags of the list, an error row, or the end of the batch."""
    server = _server()
    server.answers = answers
    endpoint = Endpoint(
        f"http://127.0.0.1:{server.server_address[1]}/v1",
        "m",
        _TAGS,
        selection=_SELECTION,
        readme_tokens=500,
        concurrency=1,
    )
    with _folder({"dump.jsonl": b'{"id": 1375, "readme": "A web server."}'}) as folder:
        dump = Sources((str(folder / "dump.jsonl"),))
        try:
            endpoint.prepare()
            (reply,) = _replies(Tagger(endpoint, _SELECTION), dump)
        except EndpointError as error:
            _one_line(error)
            return
    _sound(reply, _TAGS, {"ReplyError", "ServerError"})


def check_command(command: Command) -> None:
    """`tagger batch` ends with a documented exit code and prints rows and nothing else."""
    files = {file.name: file.data for file in command.readmes}
    with _folder(files) as folder, _folder({"tags.json": command.tags}) as beside:
        output = beside / command.output if command.output else None
        more = ("-o", str(output)) if output else ()
        code, printed, said = _tagger_batch(
            *(str(folder), "--tags", str(beside / "tags.json"), "--model", str(_model_folder())),
            *("--device=cpu", "--dtype=float32", "--quiet", "--offline"),
            *(*command.options, *more),
        )
        must(code in (0, 1, 2), f"exit code {code}: {said[-300:]}")
        must("Traceback" not in said, f"a traceback: {said[-300:]}")
        must(not (output and printed), f"standard output has {printed[:80]!r}")
        if output and output.suffix == ".jsonl" and code < 2:
            printed = output.read_text(encoding="utf-8")
        for line in printed.splitlines():
            must(isinstance(json.loads(line), dict), "a row that is no object")
        must(output is None or code == 2 or output.is_file(), "no output, and no error")


def _replies(tagger: Tagger[Any], sources: Sources) -> list[Tagging | Failure]:
    """Return the rows of a batch."""
    with Ledger(None) as ledger:
        ledger.use(tagger.method.identity, tagger.method.reading_identity)
        pipeline = Pipeline(tagger, ledger, on_duplicate="suffix")
        return [row.reply for row in pipeline.rows(sources)]


def _sound(reply: Tagging | Failure, vocabulary: Vocabulary, failures: Iterable[str]) -> None:
    """Make sure that a row holds what it may hold, read back from what is printed."""
    line = reply.to_json() if isinstance(reply, Failure) else reply.to_json(scores=True)
    must(not _UNSAFE.search(line), "a row that is not safe to print")
    row = json.loads(line.encode())
    if isinstance(reply, Failure):
        kind, message = row["error"]["type"], row["error"]["message"]
        must(kind in failures, f"{kind}: {message[:200]}")
        return
    known = [(tag.id, tag.name) for tag in vocabulary]
    given = [(tag["id"], tag["name"]) for tag in row["tags"]]
    must(all(tag in known for tag in given), "a tag that is not in the list")
    must(len(given) == len(set(given)) <= _MAX_TAGS, "a tag twice, or too many")
    for tag in row["tags"]:
        sure = tag["confidence"]
        must(sure is None or (math.isfinite(sure) and 0 <= sure <= 1), "no confidence")


def _one_line(error: Exception) -> None:
    message = str(error)
    must(message and "\n" not in message, f"no message of one line: {message[:200]!r}")


@contextmanager
def _folder(files: dict[str, bytes]) -> Iterator[Path]:
    """Yield a folder of files; those whose names this system does not take are left out."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        for file, data in files.items():
            with contextlib.suppress(OSError):
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_bytes(data)
        yield folder


def _tagger_batch(*args: str) -> tuple[int, str, str]:
    """Call `tagger batch` in this process; return its exit code and what it prints."""
    from tagger.cli import main

    before, sys.argv = sys.argv, ["tagger", "batch", *args]
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as exit_:
        return int(exit_.code or 0), out.getvalue(), err.getvalue()
    finally:
        sys.argv = before
        logging.getLogger("tagger").handlers = []
    return 0, out.getvalue(), err.getvalue()


@cache
def _model() -> Any:
    return tiny.model()


@cache
def _tagger() -> Tagger[Any]:
    return Tagger(Rank(_model(), _TAGS), _SELECTION)


@cache
def _mentions() -> Mentions:
    return Mentions(_TAGS)


@cache
def _model_folder() -> Path:
    return tiny.save(Path(tempfile.mkdtemp(), "tiny"))


class _Server(socketserver.ThreadingTCPServer):
    """Sends each request the next of its answers, and hangs up."""

    daemon_threads = True
    answers: list[bytes]


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = 0
        while (line := self.rfile.readline()).strip():
            name, _, number = line.partition(b":")
            length = int(number) if name.lower() == b"content-length" else length
        self.rfile.read(length)
        answers = self.server.answers  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            self.wfile.write(answers.pop(0) if len(answers) > 1 else answers[0])


@cache
def _server() -> _Server:
    # The client's own back-off, shortened.
    client: Any = import_module("openai._base_client")
    client.INITIAL_RETRY_DELAY, client.MAX_RETRY_DELAY = 0.001, 0.002
    server = _Server(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


_README = File("README.md", b"# A web server")

KINDS: dict[str, Kind] = {
    "readme": Kind(readmes.readme, check_readme, partial(check_readme, _README)),
    "ranked": Kind(readmes.readme, check_ranked, partial(check_ranked, _README)),
    "vocabulary": Kind(inputs.vocabulary, check_vocabulary, _tagger),
    "dump": Kind(inputs.lines, check_dump, partial(check_ranked, _README)),
    "parquet": Kind(inputs.table, check_dump, partial(check_ranked, _README)),
    "model": Kind(folders.model, check_model, _model_folder, granted=template.SECONDS),
    "answer": Kind(replies.answers, check_answers, _server),
    "command": Kind(inputs.command, check_command, _model_folder),
}
"""Every kind of input by its name."""
