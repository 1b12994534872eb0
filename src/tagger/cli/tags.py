"""`tagger tags`: look a vocabulary through."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tagger.cli import models, options
from tagger.cli.flatten import flattened
from tagger.types import DEFAULT_MODEL

if TYPE_CHECKING:
    from tagger.methods.rank.tree import TagTree
    from tagger.prompts.prompt import Prompt
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
            help="Count tokens as this model does, which is fetched if it is not here. Default: "
            f"{DEFAULT_MODEL} where it is here, and else no tokens.",
        ),
    ] = None,
    offline: options.Offline = False,
    common: options.CommonOptions,
) -> int:
    """Say all that is wrong or doubtful with a vocabulary, and what it costs.

    Exit code 1 if there is anything to say.
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
        from tagger.errors import VocabularyError
        from tagger.methods.rank.rank import room_for_a_readme
        from tagger.methods.rank.tree import TagTree
        from tagger.models import load
        from tagger.models.plan import config_of
        from tagger.models.tokenizer import ChatTokenizer
        from tagger.prompts.prompt import Prompt, PromptTemplate

        with models.fetching(quiet=common.quiet) as progress:
            tokenizer = ChatTokenizer(load.tokenizer_of(name, offline=offline, progress=progress))
        vocabulary = Vocabulary.load(path)
        found += checking.same_tokens(vocabulary, tokenizer.encode)
        prompt = Prompt(PromptTemplate.load(), vocabulary, tokenizer)
        trees = [TagTree.build(vocabulary, tokenizer, one) for one in prompt.openings]
        try:
            context = config_of(name).max_position_embeddings
            room_for_a_readme(prompt, trees, vocabulary, context)
        except VocabularyError as error:
            found.append(str(error))
        counted = _costs(name, prompt, trees, vocabulary)
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
    """List the tags of a vocabulary: id, name, aliases and description, a line each."""
    from tagger._util.text import printable
    from tagger.vocabulary import Vocabulary

    for tag in Vocabulary.load(options.vocabulary_file(file)):
        columns = [str(tag.id), tag.name, ", ".join(tag.aliases), tag.description]
        typer.echo("\t".join(map(printable, columns)).rstrip("\t"))


def _costs(
    name: str, prompt: "Prompt", trees: "list[TagTree]", vocabulary: "Vocabulary"
) -> list[str]:
    """Return what the vocabulary costs, in tokens of a model."""
    from tagger.methods.rank.rank import AT_ONCE

    once = sum(map(len, prompt.lists))
    nodes = sum(min(len(tree.tokens), AT_ONCE) for tree in trees)
    asked = sum(map(len, prompt.endings)) + sum(len(tree.root) for tree in trees)
    longest = max(vocabulary, key=lambda tag: len(prompt.tokenizer.encode(tag.label)))
    count = len(prompt.tokenizer.encode(longest.label))
    searched = max(len(tree.tokens) for tree in trees) > AT_ONCE
    how = "some of its tags are looked for" if searched else "all of its tags are scored"
    return [
        f"tokens of {name}: {once:,} for the list, in two orders, read once and kept",
        f"for each README: about {asked + nodes:,} tokens beside its own; {how}",
        f"the longest name: {longest.name!r} with {_count(count, 'token')}",
    ]


def _count(number: int, thing: str) -> str:
    return f"{number or 'no'} {thing}{'' if number == 1 else 's'}"
