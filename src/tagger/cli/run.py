"""`tagger run`: tag the READMEs named on the command line."""

from typing import Annotated

import typer

from tagger.cli import options
from tagger.errors import UsageError
from tagger.types import DEFAULT_MODEL, README_TOKENS


def run(
    readmes: Annotated[
        list[str],
        typer.Argument(metavar="README", help="README files; - reads standard input."),
    ],
    tags: options.Tags = None,
    id_: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="ID", help="What the reply calls the README. Default: its path."
        ),
    ] = None,
    max_tags: options.MaxTags = 3,
    min_tags: options.MinTags = 1,
    threshold: options.Threshold = None,
    tags_as: options.TagsAs = "objects",
    scores: options.Scores = False,
    model: options.Model = DEFAULT_MODEL,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    threads: options.Threads = None,
    readme_tokens: options.ReadmeTokens = README_TOKENS,
    prompt: options.PromptFile = None,
    calibration: options.Calibration = None,
    method: options.Method = "rank",
    grammar: options.Grammar = None,
    endpoint: options.Endpoint = None,
    concurrency: options.Concurrency = None,
    offline: options.Offline = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,  # noqa: ARG001 (its callback acts)
) -> None:
    """Tag READMEs: one JSON line each on standard output, in order.

    The vocabulary and all READMEs are checked before the model is loaded.
    """
    if id_ is not None and len(readmes) > 1:
        raise UsageError("--id names one README, and several were given")
    if readmes.count("-") > 1:
        raise UsageError("- (standard input) can be read only once")

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli.methods import Request
    from tagger.readme.readme import Readme
    from tagger.selection import Choice
    from tagger.vocabulary import Vocabulary

    choice = Choice(max_tags=max_tags, min_tags=min_tags, threshold=threshold)
    request = Request(
        method=method,
        grammar=grammar,
        endpoint=endpoint,
        concurrency=concurrency,
        model=model,
        device=device,
        dtype=dtype,
        threads=threads,
        offline=offline,
        readme_tokens=readme_tokens,
        calibration=calibration,
        quiet=quiet,
    )
    request.check(choice, scores=scores)
    vocabulary = Vocabulary.load(options.vocabulary_file(tags))
    template = request.template(prompt)
    found = [Readme.read(path, id_) for path in readmes]

    from tagger.batch.output import StandardOutput
    from tagger.cli.progress import working

    tagger = request.open(vocabulary, choice, template).tagger
    with working("reading the list of tags", quiet=quiet):
        tagger.prepare()
    output = StandardOutput()
    for tagging in tagger.tag(found):
        output.write(tagging.to_json(tags_as, scores=scores))
