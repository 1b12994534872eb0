"""Run the commands of docs/tutorial.md and write what they print into the page.

    PYTHONPATH=tests python scripts/tutorial.py [FOLDER]

In FOLDER, or a new one, the commands find the examples as in a checkout. They run with the real
model, for minutes. Where the folder has what an earlier run has read, only the rest is read.
"""

import os
import sys
import tempfile
from pathlib import Path

from support import ROOT, pages

PAGE = ROOT / "docs" / "tutorial.md"


def tidy(output: str, folder: Path) -> str:
    """Return an output as if from a user's checkout, without spaces at the ends of lines."""
    text = output.replace(str(folder.resolve()), pages.CHECKOUT)
    return "\n".join(line.rstrip() for line in text.splitlines())


def main() -> None:
    """Run the page."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(ROOT / "examples")
    text = PAGE.read_text(encoding="utf-8")
    commands = [block.commands.replace("mkdir cat", "mkdir -p cat") for block in pages.blocks(text)]
    outcomes = pages.run(commands, folder, os.environ | {"COLUMNS": "90", "NO_COLOR": "1"})
    if outcomes[-1].code:
        sys.exit(f"{commands[len(outcomes) - 1]}\n{outcomes[-1].output}")
    PAGE.write_text(
        pages.with_outputs(text, [tidy(outcome.output, folder) for outcome in outcomes]),
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
