"""`tagger run`: tag the READMEs named on the command line."""

from typing import Annotated

import typer

from tagger.cli import options
from tagger.errors import UsageError


def run(
    readmes: Annotated[
        list[str],
        typer.Argument(metavar="README", help="README files; - reads standard input."),
    ],
    *,
    id_: options.Id = None,
    prompt: options.PromptOptions,
    selection: options.SelectionOptions,
    reply: options.ReplyOptions,
    model: options.ModelOptions,
    method: options.MethodOptions,
    common: options.CommonOptions,
) -> None:
    """Tag READMEs: one JSON line each on standard output, in order.

    The vocabulary and all READMEs are checked before the model is loaded.
    """
    if id_ is not None and len(readmes) > 1:
        raise UsageError("--id names one README, but several were given")
    if id_ == "":
        raise UsageError("--id is empty: pass an id, or leave out --id")
    if readmes.count("-") > 1:
        raise UsageError("- (standard input) can be read only once")

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli import methods
    from tagger.readme.readme import Readme

    chosen = selection.selection()
    methods.check(method, model, chosen, scores=reply.scores)
    vocabulary = options.load_vocabulary(prompt.tags)
    opener = methods.opener(vocabulary, prompt, model, method, chosen, quiet=common.quiet)
    found = [Readme.read(path, id_) for path in readmes]

    from tagger.cli.output import write_line
    from tagger.cli.progress import working
    from tagger.tagger import Tagger

    tagger = Tagger(opener(), chosen)
    with working("reading the list of tags", quiet=common.quiet):
        tagger.method.prepare()
    for tagging in tagger.tag(found):
        write_line(tagging.to_json(reply.tags_as, scores=reply.scores))
