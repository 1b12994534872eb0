#!/usr/bin/env python3
"""Propose tags for a repository's README, or check the committed ones.

The GitHub Action and the pre-commit hook run it with any Python 3.11 or newer and a `tagger` that
is installed, whose settings it leaves to `TAGGER_` variables. `propose` prints the names as a JSON
list; `check` also compares them with a committed list, in any order, and exits with 1 where they
differ. On GitHub the list is the output `tags`.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

LIMIT = 2**20
"""The most bytes that are read of the committed list."""


def main() -> int:
    """Return the exit code; whatever `tagger` fails with is its own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("mode", choices=["propose", "check"])
    parser.add_argument("--readme", default="README.md")
    parser.add_argument("--tags", default="tags.json")
    parser.add_argument("--expected", default=".github/readme-tags.json")
    options = parser.parse_args()
    # Read first, since it costs nothing.
    expected = committed(Path(options.expected)) if options.mode == "check" else None
    command = ["tagger", "run", f"--tags={options.tags}", "--tags-as=names"]
    try:
        done = subprocess.run([*command, "--", options.readme], stdout=subprocess.PIPE, check=False)
    except FileNotFoundError:
        return fail("`tagger` is not installed, or not on the PATH", 2)
    if done.returncode:
        return done.returncode
    names = json.loads(done.stdout)["tags"]
    print(json.dumps(names))
    if "GITHUB_OUTPUT" in os.environ:
        with Path(os.environ["GITHUB_OUTPUT"]).open("a") as file:
            file.write(f"tags={json.dumps(names)}\n")
    if options.mode == "check" and sorted(names) != expected:
        given, listed = json.dumps(names), json.dumps(expected)
        return fail(f"tagger gives {given}, and {options.expected!a} has {listed}", 1)
    return 0


def committed(path: Path) -> list[str]:
    """Return the committed names, sorted; exits where there are none."""
    try:
        with path.open("rb") as file:
            names = json.loads(file.read(LIMIT))
    except OSError as error:
        sys.exit(fail(f"{str(path)!a}: {error.strerror}", 2))
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        sys.exit(fail(f"{str(path)!a} is not a JSON list of names", 2))
    return sorted(names)


def fail(message: str, code: int) -> int:
    """Say in one line what is wrong, and return the exit code."""
    print(f"readme-tags: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
