"""`tagger tags`: look a vocabulary through."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagger.cli import options
from tagger.cli.flatten import flattened
from tagger.types import DEFAULT_MODEL

if TYPE_CHECKING:
    from tagger.methods.rank.layout import Layout
    from tagger.vocabulary import Vocabulary

SOME_PROBLEMS = 1

app = typer.Typer(help="Check and list a vocabulary.")

File = Annotated[
    Path | None,
    typer.Argument(
        metavar="FILE", help="The vocabulary. Default: tags.json in the current folder."
    ),
]


@app.command()
@flattened
def check(
    file: File = None,
    *,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Count tokens for this model, fetching it if it is missing. Default: "
            f"{DEFAULT_MODEL} if it is on this machine; otherwise tokens are not counted.",
        ),
    ] = None,
    offline: options.Offline = False,
    common: options.CommonOptions,
) -> int:
    """Report every error and oddity in a vocabulary, and how many tokens it costs.

    The exit code is 1 if there are errors or oddities.
    """
    from tagger import vocabulary_lint as checking
    from tagger._util.text import printable
    from tagger.models.fetch import catalogue, store
    from tagger.vocabulary import Vocabulary

    path = options.vocabulary_file(file)
    entries = checking.read_entries(path)
    found = list(checking.problems(entries))
    here = store.is_complete(catalogue.entry(DEFAULT_MODEL))
    name = model or (DEFAULT_MODEL if here else None)
    counted: list[str] = []
    if name and all(not isinstance(entry, dict | str) for entry in entries):
        from tagger.cli.progress import fetching
        from tagger.errors import VocabularyError
        from tagger.methods.rank.layout import Layout
        from tagger.models import load
        from tagger.models.plan import config_of
        from tagger.models.tokenizer import ChatTokenizer
        from tagger.prompts.prompt import PromptTemplate

        with fetching(quiet=common.quiet) as progress:
            tokenizer = ChatTokenizer(load.tokenizer_of(name, offline=offline, progress=progress))
        vocabulary = Vocabulary.load(path)
        found += checking.same_tokens(vocabulary, tokenizer.encode)
        layout = Layout(PromptTemplate.load(), vocabulary, tokenizer)
        try:
            layout.room(config_of(name).max_position_embeddings)
        except VocabularyError as error:
            found.append(str(error))
        counted = _costs(name, layout, vocabulary)
    for problem in found:
        typer.echo(problem)
    typer.echo(
        f"{printable(str(path))}: {_count(len(entries), 'tag')}, {_count(len(found), 'problem')}"
    )
    for line in counted:
        typer.echo(line)
    return SOME_PROBLEMS if found else 0


@app.command()
@flattened
def show(file: File = None) -> None:
    """List the tags of a vocabulary: id, name, aliases and description, one tag per line."""
    from tagger._util.text import printable

    for tag in options.load_vocabulary(file):
        columns = [str(tag.id), tag.name, ", ".join(tag.aliases), tag.description]
        typer.echo("\t".join(map(printable, columns)).rstrip("\t"))


def _costs(name: str, layout: "Layout", vocabulary: "Vocabulary") -> list[str]:
    """Return what the vocabulary costs, in tokens of a model."""
    encode = layout.prompt.tokenizer.encode
    longest = max(vocabulary, key=lambda tag: len(encode(tag.label)))
    how = "all of its tags are scored" if layout.small else "some of its tags are looked for"
    return [
        f"tokens of {name}: {sum(map(len, layout.prompt.lists)):,} for the list, in two orders, "
        "read once and kept",
        f"for each README: about {layout.tokens['questions'] + layout.nodes:,} tokens beside its "
        f"own; {how}",
        f"the longest name: {longest.name!r} with {_count(len(encode(longest.label)), 'token')}",
    ]


def _count(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"
