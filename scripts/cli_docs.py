"""Write docs/cli.md from the commands' own `--help`, or with --check say whether it is stale."""

import sys
from collections.abc import Iterator
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from tagger.cli.app import app

DOCS = Path(__file__).parents[1] / "docs" / "cli.md"


def commands(group: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every command as the words that call it."""
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))


def render() -> str:
    """Return the page."""
    runner = CliRunner(env={"COLUMNS": "90", "NO_COLOR": "1", "TERMINAL_WIDTH": "90"})
    parts = ["# Commands\n\nGenerated from `--help` by `make docs`.\n"]
    for path in commands(get_command(app)):
        text = runner.invoke(app, [*path, "--help"], prog_name="tagger").output
        parts.append(
            f"\n## tagger {' '.join(path)}".rstrip() + f"\n\n```text\n{text.strip()}\n```\n"
        )
    return "".join(parts)


def main() -> None:
    """Write the page, or compare it."""
    text = render()
    if "--check" not in sys.argv:
        DOCS.write_text(text, encoding="utf-8")
    elif not DOCS.is_file() or DOCS.read_text(encoding="utf-8") != text:
        sys.exit("docs/cli.md is stale: run `make docs`")


if __name__ == "__main__":
    main()
