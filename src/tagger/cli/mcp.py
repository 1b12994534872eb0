"""`tagger mcp`: tools for agents."""

from tagger._util.extras import need
from tagger.cli import options, signals


def mcp(
    *,
    calibration: options.Calibration = None,
    head: options.HeadFile = None,
    prompt: options.PromptOptions,
    selection: options.SelectionOptions,
    model: options.ModelOptions,
    common: options.CommonOptions,
) -> None:
    """Offer tools to an agent over the Model Context Protocol, on standard input and output.

    The tools tag a README, list the vocabulary, and explain a README's tags. The model is loaded
    when one first needs it.
    """
    need("mcp")

    # Here, not above: `--help` and wrong usage are answered without them.
    from tagger.cli import methods
    from tagger.serve import tools

    chosen = selection.selection()
    vocabulary = options.load_vocabulary(prompt.tags)
    opener = methods.rank_opener(vocabulary, prompt, model, calibration, head, quiet=common.quiet)
    signals.end_at_once()  # a thread waits for the agent's next message, for ever if it has to
    tools.server(vocabulary, opener, chosen).run("stdio")
