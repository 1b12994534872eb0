"""The commands of a page of the docs, run in order in one shell."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = "/home/you/tagger"
"""Where the pages' outputs have a checkout."""

_BLOCK = re.compile(r"^```sh\n(.*?)\n```$(?:\n\n```text\n(.*?)\n?```$)?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of commands.

    Attributes:
        commands: its text.
        shown: the output that the page shows below it, if any.

    """

    commands: str
    shown: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of a block.

    Attributes:
        code: the exit code of its last command.
        output: what it has written, errors included.

    """

    code: int
    output: str


def blocks(text: str) -> list[Block]:
    """Return the blocks of commands of a page."""
    return [Block(match[1], match[2]) for match in _BLOCK.finditer(text)]


def with_outputs(text: str, outputs: list[str]) -> str:
    """Return the page with other outputs where it shows any."""
    left = iter(outputs)

    def filled(match: re.Match[str]) -> str:
        output = next(left)
        if match[2] is None:
            return match[0]
        return f"```sh\n{match[1]}\n```\n\n```text\n{output}\n```"

    return _BLOCK.sub(filled, text)


def run(commands: list[str], folder: Path, environment: Mapping[str, str]) -> list[Outcome]:
    """Run blocks of commands in one shell, up to the first that fails."""
    then = "code=$?; printf '\\0%s\\0' $code; [ $code = 0 ] || exit"
    script = "\n".join(f"{each}\n{then}" for each in commands)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
    )
    outputs = done.stdout.decode().split("\0")
    return [
        Outcome(int(code), output.strip("\n"))
        for output, code in zip(outputs[::2], outputs[1::2], strict=False)
    ]
