"""`tagger prompt`: what is said to the model, to the letter."""

import re
from typing import TYPE_CHECKING

import typer

from tagger.cli import models, options

if TYPE_CHECKING:
    from tagger.models.tokenizer import ChatTokenizer
    from tagger.prompts.prompt import Conversation


def prompt(
    readme: options.OneReadme,
    *,
    prompt: options.PromptOptions,
    model: options.ModelOptions,
    common: options.CommonOptions,
) -> None:
    """Print the conversation that `rank` puts to the model, control tokens included.

    The model goes on where the text ends. There is one conversation for each question; all share
    one reading of the README. What only looks like a control token, in the README or the tags, is
    shown with a backslash: the model reads it as letters. Token counts go to stderr.
    """
    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.prompts.prompt import PromptTemplate
    from tagger.readme.readme import Readme
    from tagger.vocabulary import Vocabulary

    vocabulary = Vocabulary.load(options.vocabulary_file(prompt.tags))
    template = PromptTemplate.load(prompt.prompt)
    found = Readme.read(readme)

    from tagger.methods.rank.calibration import Calibration
    from tagger.methods.rank.rank import Rank

    language_model = models.load(model, quiet=common.quiet)
    calibration = Calibration.shipped(model.model)
    rank = Rank(language_model, vocabulary, template, calibration, prompt.readme_tokens)
    conversations = rank.conversations(found.words)
    for number, said in enumerate(conversations, start=1):
        if number > 1:
            typer.echo()
        if len(conversations) > 1:
            typer.echo(f"----- {number} of {len(conversations)}")
        typer.echo(_shown(said, language_model.tokenizer))
        options.log.info(
            "conversation %d: %d tokens before the README, %d of it, %d behind it",
            number,
            len(said.before),
            len(said.readme),
            len(said.after),
        )


def _shown(said: "Conversation", tokenizer: "ChatTokenizer") -> str:
    """Return a conversation as text that no terminal acts on."""
    from tagger._util.text import printable

    control = set(tokenizer.control_ids())
    parts: list[str] = []
    text: list[int] = []

    def spell() -> None:
        if text:
            # Letters that make up a control token's name are none.
            looks = re.sub(r"<\|(?=\w+\|>)", r"<\\|", tokenizer.decode(text))
            parts.append("\n".join(map(printable, looks.split("\n"))))
            text.clear()

    for id_ in (*said.before, *said.readme, *said.after):
        if id_ in control:
            spell()
            parts.append(tokenizer.decode([id_]))
        else:
            text.append(id_)
    spell()
    return "".join(parts)
