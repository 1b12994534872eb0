"""Options that several commands share, each with its environment variable."""

import logging
import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from tagger.errors import UsageError

DEFAULT_TAGS = Path("tags.json")

log = logging.getLogger(__name__)


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", value):
        raise typer.BadParameter(f"{value!r} is none of auto, cpu, cuda, cuda:N, mps")
    return value


def model_names(beginning: str) -> list[str]:
    """Return the known models whose names begin so, for the shell to complete."""
    from tagger.models.fetch.catalogue import catalogue

    return [name for name in catalogue() if name.startswith(beginning)]


def _quiet(value: bool) -> bool:
    if value:
        logging.getLogger("tagger").setLevel(logging.ERROR)
    return value


def _debug(value: bool) -> bool:
    if value:
        logging.getLogger("tagger").setLevel(logging.DEBUG)
    return value


Tags = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The vocabulary, a JSON list of tags. Default: tags.json in the current folder.",
        envvar="TAGGER_TAGS",
    ),
]
MaxTags = Annotated[
    int, typer.Option(min=1, max=10, help="Give at most N tags.", envvar="TAGGER_MAX_TAGS")
]
MinTags = Annotated[
    int,
    typer.Option(min=0, max=10, help="Give at least N, however unsure.", envvar="TAGGER_MIN_TAGS"),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="Confidence from which a tag is given. Default: the model's own.",
        envvar="TAGGER_THRESHOLD",
    ),
]
TagsAs = Annotated[
    Literal["objects", "ids", "names"],
    typer.Option(help="How the reply writes its tags.", envvar="TAGGER_TAGS_AS"),
]
Scores = Annotated[
    bool,
    typer.Option("--scores", help="Add a confidence to each tag.", envvar="TAGGER_SCORES"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.", envvar="TAGGER_JSON")]
Model = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="A name of `tagger models list`, a folder, or a Hub id such as "
        "Qwen/Qwen2.5-7B-Instruct.",
        envvar="TAGGER_MODEL",
        autocompletion=model_names,
    ),
]
Method = Annotated[
    Literal["rank", "generate"],
    typer.Option(
        help="rank scores every tag of the vocabulary; generate has the model write its reply.",
        envvar="TAGGER_METHOD",
    ),
]
Grammar = Annotated[
    Literal["on", "off"] | None,
    typer.Option(
        help="With generate: whether the reply is held to a grammar, so that it is always valid. "
        "Default: on.",
        envvar="TAGGER_GRAMMAR",
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Ask the model of a server that speaks OpenAI's chat completions, such as "
        "http://localhost:8000/v1; its key is taken from TAGGER_API_KEY.",
        envvar="TAGGER_ENDPOINT",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        metavar="N",
        help="With --endpoint: requests at a time. Default: 8.",
        envvar="TAGGER_CONCURRENCY",
    ),
]
MaxFailures = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="With --endpoint: stop when N READMEs in a row have failed alike. Default: 20.",
        envvar="TAGGER_MAX_FAILURES",
    ),
]
Device = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda, cuda:N or mps.", envvar="TAGGER_DEVICE", callback=_device),
]
Dtype = Annotated[
    Literal["auto", "bfloat16", "float16", "float32"],
    typer.Option(
        help="Number format; auto is bfloat16 where the processor has instructions for it, "
        "else float32.",
        envvar="TAGGER_DTYPE",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Processor threads. Default: all.", envvar="TAGGER_THREADS"),
]
ReadmeTokens = Annotated[
    int,
    typer.Option(
        min=1,
        max=1_000_000,
        help="Read at most N tokens of each README.",
        envvar="TAGGER_README_TOKENS",
    ),
]
PromptFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A prompt template in place of the default; `documents` names the one that ships for "
        "texts that are not about software.",
        envvar="TAGGER_PROMPT",
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="What tagger calibrate has written, in place of what ships for the model.",
        envvar="TAGGER_CALIBRATION",
    ),
]
Glob = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATTERN",
        help="Files to read in folders, such as '*.md' or 'docs/*.md'; may be repeated. "
        "Default: the usual README names.",
        envvar="TAGGER_GLOB",
    ),
]
FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links",
        help="In folders, read links to files that lead out of the folder, too.",
        envvar="TAGGER_FOLLOW_LINKS",
    ),
]
IdField = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Field or column of a dump that holds the id.",
        envvar="TAGGER_ID_FIELD",
    ),
]
ReadmeField = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Field or column of a dump that holds the README.",
        envvar="TAGGER_README_FIELD",
    ),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Never touch the network.", envvar="TAGGER_OFFLINE"),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Only errors on stderr.", envvar="TAGGER_QUIET", callback=_quiet
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", help="Show tracebacks of errors.", envvar="TAGGER_DEBUG", callback=_debug
    ),
]


def vocabulary_file(path: Path | None) -> Path:
    """Return the vocabulary to use: the one given, or this folder's tags.json, said so.

    Raises:
        UsageError: there is neither.

    """
    if path is not None:
        return path
    if not DEFAULT_TAGS.is_file():
        raise UsageError("no vocabulary: pass --tags FILE, or put a tags.json into this folder")
    log.info("using the vocabulary tags.json of this folder")
    return DEFAULT_TAGS
