"""`tagger prompt`: what is said to the model, to the letter."""

import typer

from tagger.cli import options


def prompt(
    readme: options.OneReadme,
    *,
    prompt: options.PromptOptions,
    selection: options.SelectionOptions,
    model: options.ModelOptions,
    method: options.MethodOptions,
    common: options.CommonOptions,
) -> None:
    """Print the conversation that the model sees, control tokens included.

    The model continues from the end of the text. With --method rank there is one conversation for
    each question of the prompt template, and the README is read once for all of them. Text in
    the README or the tags that only looks like a control token is shown with a backslash: the
    model reads it as plain text. For an endpoint, the messages are shown. Token counts go to
    stderr.
    """
    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli import methods
    from tagger.readme.readme import Readme

    chosen = selection.selection()
    methods.check(method, model, chosen)
    vocabulary = options.load_vocabulary(prompt.tags)
    opener = methods.opener(vocabulary, prompt, model, method, chosen, quiet=common.quiet)
    found = Readme.read(readme)

    conversations = opener().conversations(found)
    for number, said in enumerate(conversations, start=1):
        if number > 1:
            typer.echo()
        if len(conversations) > 1:
            typer.echo(f"----- {number} of {len(conversations)}")
        typer.echo(said.text)
        if said.tokens:
            options.log.info(
                "conversation %d: %d tokens before the README, %d in it, %d after it",
                number,
                *said.tokens,
            )
