"""Options that several commands share, each written once.

`flatten.py` makes options of the groups' fields, and gives each its environment variable.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tagger._util.extras import need
from tagger.cli.config import Named
from tagger.errors import UsageError
from tagger.types import DEFAULT_EFFORT, DEFAULT_MODEL, EFFORTS, README_TOKENS

if TYPE_CHECKING:
    from tagger.readme.sources import IdFrom, Sources
    from tagger.selection import Selection
    from tagger.vocabulary import Vocabulary

DEFAULT_TAGS = Path("tags.json")

log = logging.getLogger(__name__)


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", value):
        raise typer.BadParameter(f"{value!r} is not one of auto, cpu, cuda, cuda:N, mps")
    return value


def _head(context: typer.Context, option: typer.CallbackParam, value: str | None) -> str | None:
    return value if value is None else Named.of(value, context, option)


def _effort(context: typer.Context, option: typer.CallbackParam, value: str) -> str:
    """Make an effort's model and README budget the defaults of their options."""
    if value != DEFAULT_EFFORT:  # whose they are already
        defaults = dict(context.default_map or {})
        for name, default in EFFORTS[value].defaults.items():
            defaults.setdefault(name, default)
        context.default_map = defaults
    return Named.of(value, context, option)


def _quantize(context: typer.Context, option: typer.CallbackParam, value: str | None) -> str | None:
    return value if value is None else Named.of(value, context, option)


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


OneReadme = Annotated[
    str, typer.Argument(metavar="README", help="A README file; - reads standard input.")
]
Id = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="What the reply calls the README. Default: its path."),
]
IdOfReadme = Annotated[
    Literal["relative", "path", "stem", "parent"],
    typer.Option(
        "--id-from",
        help="The id of a README in a folder: its path within the folder, its whole path, "
        "its file name without extension, or the name of its parent folder.",
    ),
]
Tags = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The vocabulary, a JSON list of tags. Default: tags.json in the current folder.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Device = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda, cuda:N or mps.", callback=_device),
]
Dtype = Annotated[
    Literal["auto", "bfloat16", "float16", "float32"],
    typer.Option(
        help="Number format; auto is bfloat16 where the processor supports it natively, "
        "else float32.",
    ),
]
Quantize = Annotated[
    Literal["int8"] | None,
    typer.Option(
        help="Hold the weights of linear layers in 8 bits, which takes less memory and no less "
        "time.",
        callback=_quantize,
    ),
]
ReadmeTokens = Annotated[
    int,
    typer.Option(
        min=1,
        max=1_000_000,
        help="Read at most N tokens of each README.",
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file from tagger calibrate, to use instead of the built-in calibration.",
    ),
]
HeadFile = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="FILE",
        help="A file from tagger learn, to use instead of the model's built-in head; `none` turns "
        "it off.",
        callback=_head,
    ),
]
Offline = Annotated[
    bool,
    typer.Option("--offline", help="Never touch the network."),
]


@dataclass(frozen=True)
class PromptOptions:
    """What is said to the model, and how much of a README."""

    tags: Tags = None
    prompt: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A prompt template in place of the default; `documents` names the one that ships "
            "for texts that are not about software.",
        ),
    ] = None
    readme_tokens: ReadmeTokens = README_TOKENS


@dataclass(frozen=True)
class SelectionOptions:
    """How many tags are given."""

    max_tags: Annotated[int, typer.Option(min=1, max=10, help="Give at most N tags.")] = 3
    min_tags: Annotated[
        int,
        typer.Option(min=0, max=10, help="Give at least N tags, even below the threshold."),
    ] = 1
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Lowest confidence at which a tag is given. Default: the model's own.",
        ),
    ] = None

    def selection(self) -> "Selection":
        """Return how many tags are given. Raises `UsageError`."""
        from tagger.selection import Selection

        return Selection(max_tags=self.max_tags, min_tags=self.min_tags, threshold=self.threshold)


@dataclass(frozen=True)
class ReplyOptions:
    """How a reply is written."""

    tags_as: Annotated[
        Literal["objects", "ids", "names"],
        typer.Option(help="How the reply writes its tags."),
    ] = "objects"
    scores: Annotated[
        bool,
        typer.Option(
            "--scores", help="Add a confidence to each tag, and say if a README is suspicious."
        ),
    ] = False


@dataclass(frozen=True)
class SourceOptions:
    """Where READMEs are found in folders and dumps."""

    glob: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN",
            help="Files to read in folders, such as '*.md' or 'docs/*.md'; may be repeated. "
            "Default: the usual README names.",
        ),
    ] = None
    follow_links: Annotated[
        bool,
        typer.Option(
            "--follow-links",
            help="In folders, also follow links to files outside the folder.",
        ),
    ] = False
    id_field: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Field or column of a dump that holds the id.",
        ),
    ] = "id"
    readme_field: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Field or column of a dump that holds the README.",
        ),
    ] = "readme"

    def sources(
        self, paths: Sequence[str], id_from: "IdFrom" = "relative", *, addresses: bool = False
    ) -> "Sources":
        """Return the sources of READMEs that these paths name. Raises `InputError`."""
        from tagger.readme import remote
        from tagger.readme.sources import Sources

        return Sources(
            tuple(
                each
                for path in paths
                for each in (
                    remote.dumps(path) if addresses and remote.is_address(path) else [path]
                )
            ),
            addresses=addresses,
            globs=tuple(self.glob or ()),
            id_from=id_from,
            id_field=self.id_field,
            readme_field=self.readme_field,
            follow_links=self.follow_links,
        )


@dataclass(frozen=True)
class ModelOptions:
    """The model, and what it runs on."""

    effort: Annotated[
        Literal["fast", "balanced", "best"],
        typer.Option(
            help="Speed or accuracy: sets --model and --readme-tokens, unless they are set "
            "themselves.",
            callback=_effort,
            is_eager=True,
        ),
    ] = DEFAULT_EFFORT
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="A name from `tagger models list`, a folder, or a Hub id such as "
            "Qwen/Qwen2.5-7B-Instruct.",
            autocompletion=model_names,
        ),
    ] = DEFAULT_MODEL
    device: Device = "auto"
    dtype: Dtype = "auto"
    quantize: Quantize = None
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Processor threads. Default: all."),
    ] = None
    offline: Offline = False


@dataclass(frozen=True)
class MethodOptions:
    """The way tags are found."""

    calibration: Calibration = None
    head: HeadFile = None
    method: Annotated[
        Literal["rank", "generate"],
        typer.Option(
            help="rank scores every tag of the vocabulary; generate has the model write its reply.",
        ),
    ] = "rank"
    grammar: Annotated[
        Literal["on", "off"] | None,
        typer.Option(
            help="With generate: whether the reply is constrained by a grammar, so that it is "
            "always valid. Default: on.",
        ),
    ] = None
    endpoint: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Use a model on a server with an OpenAI-compatible chat completions API such as "
            "http://localhost:8000/v1; its key is taken from TAGGER_API_KEY.",
        ),
    ] = None
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            metavar="N",
            help="With --endpoint: requests at a time, 8 by default. With --ray: models at a time, "
            "by default one for each GPU or, without any, as many as fit.",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Ask for the packages of the method. Raises `MissingPackageError`."""
        if self.endpoint:
            need("endpoint")
        elif self.method == "generate":
            need("generate")


@dataclass(frozen=True)
class CommonOptions:
    """What is said on stderr. Their callbacks act before the command runs."""

    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Only errors on stderr.", callback=_quiet),
    ] = False
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks of errors.", callback=_debug),
    ] = False


def load_vocabulary(path: Path | None) -> "Vocabulary":
    """Load the vocabulary of a file, or of this folder's tags.json.

    Raises:
        UsageError: there is neither.
        VocabularyError: it cannot be used.

    """
    from tagger.vocabulary import Vocabulary

    return Vocabulary.load(vocabulary_file(path))


def vocabulary_file(path: Path | None) -> Path:
    """Return the vocabulary file to use: the one given, or this folder's tags.json, said so.

    Raises:
        UsageError: there is neither.

    """
    if path is not None:
        return path
    if not DEFAULT_TAGS.is_file():
        raise UsageError("no vocabulary: pass --tags FILE, or put a tags.json into this folder")
    log.info("using the vocabulary tags.json of this folder")
    return DEFAULT_TAGS
