"""Who may set which option.

A settings file in the current folder may have come with a stranger's clone. It may shape replies
and choose among READMEs, and nothing else: where data comes from and where it goes is decided by
the user, in the environment, in a settings file of their own, or on the command line. What
overwrites or discards work is decided on the command line alone.

Every option stands in exactly one of these lists, by its long name. What a folder's file may set
may be set in all other places too, and what the user's file may set, on the command line.
"""

FOLDER = frozenset(
    {
        "glob",
        "id-field",
        "id-from",
        "max-tags",
        "min-tags",
        "model",  # a name of the catalogue only: `config` checks that
        "readme-field",
        "readme-tokens",
        "scores",
        "tags-as",
        "threshold",
    }
)
"""May be set by a file found in the current folder."""

USER = frozenset(
    {
        "batch-tokens",
        "calibration",
        "concurrency",
        "debug",
        "device",
        "digests",
        "dtype",
        "dump",
        "effort",
        "endpoint",
        "fail-fast",
        "follow-links",
        "from",
        "grammar",
        "head",
        "host",
        "include-fitted",
        "incomplete",
        "json",
        "label-field",
        "label-id-field",
        "labels",
        "map",
        "max-failures",
        "method",
        "no-browser",
        "no-features",
        "offline",
        "on-duplicate",
        "port",
        "prompt",
        "quantize",
        "queue",
        "quiet",
        "ray",
        "readmes",
        "report",
        "sample",
        "separator",
        "tags",
        "threads",
        "timeout",
        "top",
    }
)
"""May be set by the user's own file or the environment."""

COMMAND_LINE = frozenset(
    {
        "export",
        "id",
        "labelled",
        "labels-out",
        "output",
        "restart",
        "suggest",
        "teacher-endpoint",
        "teacher-model",
        "unknown",
    }
)
"""May be given on the command line only, and so have no environment variable."""


def variable(option: str) -> str:
    """Return the environment variable that sets an option of `FOLDER` or `USER`."""
    return "TAGGER_" + option.upper().replace("-", "_")
