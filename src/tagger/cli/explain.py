"""`tagger explain`: why a README has the tags that it has."""

from typing import TYPE_CHECKING, Annotated

import typer

from tagger.cli import options

if TYPE_CHECKING:
    from tagger.evaluation.explain import Explanation

_BAR = 6
_WIDE = 78
"""Columns of a terminal from which all there is has room."""

_GIVEN = {
    "over the threshold": "yes",
    "the least that is given": "yes, least",
    "more than are given": "no, over max",
    "below the threshold": "no, unsure",
}
"""What a table says of the reasons."""


def explain(
    readme: options.OneReadme,
    *,
    id_: options.Id = None,
    json_: options.Json = False,
    top: Annotated[int, typer.Option(min=1, help="Show the N best tags.")] = 10,
    calibration: options.Calibration = None,
    head: options.HeadFile = None,
    prompt: options.PromptOptions,
    selection: options.SelectionOptions,
    model: options.ModelOptions,
    common: options.CommonOptions,
) -> None:
    """Show why a README gets its tags, with every number behind them.

    The marked tags are the ones that the reply would contain. --json prints the whole ranking.
    """
    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger._util.text import printable_json
    from tagger.cli import methods
    from tagger.cli.progress import working
    from tagger.evaluation.explain import explain as explanation_of
    from tagger.evaluation.explain import timed
    from tagger.readme.readme import Readme

    chosen = selection.selection()
    vocabulary = options.load_vocabulary(prompt.tags)
    opener = methods.rank_opener(vocabulary, prompt, model, calibration, head, quiet=common.quiet)
    found = Readme.read(readme, id_)
    seconds: dict[str, float] = {}
    with timed(seconds, "load the model"):
        rank = opener()
        rank.model.load()
    with (
        timed(seconds, "read the list of tags"),
        working("reading the list of tags", quiet=common.quiet),
    ):
        rank.prepare()
    explained = explanation_of(rank, chosen, found, seconds)
    typer.echo(printable_json(explained.model_dump_json()) if json_ else _tables(explained, top))


def _tables(explained: "Explanation", top: int) -> str:
    """Return tables for people, as wide as the terminal is."""
    from rich import box
    from rich.bar import Bar
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tagger._util.text import printable

    console = Console()
    table = Table(
        title=Text(printable(explained.id)),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    wide = console.width >= _WIDE
    table.add_column("tag", overflow="fold", min_width=14)
    by_head = any(tag.learned is not None for tag in explained.tags)
    evidence = ("log p", "prior", "named", *(["head"] if by_head else ()))
    for heading in (*(evidence if wide else ()), "score", "confidence"):
        table.add_column(heading, justify="right", no_wrap=True)
    bars = wide and not by_head
    if bars:
        table.add_column("", no_wrap=True)
    table.add_column("given", no_wrap=True, min_width=max(map(len, _GIVEN.values())))
    for tag in explained.tags[:top]:
        learned = "" if tag.learned is None else f"{tag.learned:+.2f}"
        numbers = [f"{tag.log_prob:.2f}", f"{tag.prior:.2f}", str(tag.mentions)]
        if by_head:
            numbers.append(learned)
        table.add_row(
            Text(printable(tag.name.strip()), style="bold" if tag.given else ""),
            *(numbers if wide else ()),
            f"{tag.score:+.2f}",
            f"{tag.confidence:.2f}",
            *((Bar(1.0, 0.0, tag.confidence, width=_BAR),) if bars else ()),
            Text(_GIVEN[tag.why]),
        )
    about = Table.grid(padding=(0, 2))
    for label, text in _about(explained, top):
        about.add_row(Text(label, style="bold"), Text(printable(text)))
    with console.capture() as captured:
        console.print(table)
        console.print(about)
    return captured.get().rstrip("\n")


def _about(explained: "Explanation", top: int) -> list[tuple[str, str]]:
    """Return what stands below the table, by label."""
    read, tokens = explained.readme, explained.prompt_tokens
    rest = f"; left out from: {read.left_out!r}" if read.left_out else ", all of it"
    begin = "the first " if read.cut else ""
    rows = [
        (
            "given",
            f"at {explained.threshold:.2f} or more, {explained.min_tags} to {explained.max_tags} "
            "tags",
        ),
        (
            "README",
            f"{begin}{read.characters:,} characters, {read.plain_characters:,} without markup, "
            f"{read.tokens:,} tokens; {read.read:,} read{rest}",
        ),
        ("read up to", repr(read.last)),
        ("prompt", ", ".join(f"{part} {count:,} tokens" for part, count in tokens.items())),
        ("time", ", ".join(f"{stage} {took:.1f} s" for stage, took in explained.seconds.items())),
        ("model", f"{explained.model}, {explained.dtype} on {explained.device}"),
        ("confidences", explained.calibration),
    ]
    rows[2:2] = [("suspicious", f"left out: {passage!r}") for passage in read.planted]
    if len(explained.tags) > top:
        rows.insert(0, ("", f"and {len(explained.tags) - top:,} tags more (--top, --json)"))
    return rows
