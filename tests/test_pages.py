"""The commands of the quick start, the tutorial and the guides, run as they stand there.

With a tiny random model in place of a real one, so what is compared with the page is the shape of
the output, not its numbers.
"""

import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import ROOT, forked, pages
from support.fake_server import Answer, completion, schema_of, serving

pytestmark = pytest.mark.slow

DOCS = ROOT / "docs"
GUIDES = sorted(path.relative_to(DOCS).as_posix() for path in (DOCS / "howto").glob("*.md"))

INSTEAD = {
    "make demo": "make -n demo",
    ". .venv/bin/activate": "true",
    "pip ": "pip --version # ",
    "uv ": "uv --version # ",
    "tagger models pull": "tagger models list # ",
    "tagger models verify": "tagger models list # ",
}
"""What is run in place of what needs the network, a real model or another environment."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def varied(request: dict[str, Any]) -> Answer:
    """Answer with a tag that depends on the README, in place of a teacher."""
    schema = schema_of(request)
    assert schema is not None
    properties = schema["properties"]
    names = properties["tags"]["items"]["enum"]
    chosen = names[len(request["messages"][-1]["content"]) % len(names)]
    return completion(json.dumps({"id": properties["id"]["const"], "tags": [chosen]}))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """PATH with a `tagger` that starts fast."""
    with forked.command(tmp_path_factory.mktemp("bin")) as folder:
        yield f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder in which the commands find what they would in a checkout."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("Makefile", "README.md", "constraints.txt", "pyproject.toml", "tags.json"):
        shutil.copy(ROOT / name, folder)
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


def run(page: str, checkout: Path, path: str, model: Path) -> list[tuple[pages.Block, str]]:
    """Run a page; each block, and what it has printed."""
    blocks = pages.blocks((DOCS / page).read_text(encoding="utf-8"))
    assert blocks
    environment = os.environ | {"PATH": path, "TAGGER_MODEL": str(model), "COLUMNS": "90"}
    port = str(free_port())
    with serving() as teacher:
        teacher.answer = varied
        commands = []
        for block in blocks:
            text = block.commands.replace("http://localhost:8000/v1", teacher.url)
            text = text.replace("8000", port)
            for old, new in INSTEAD.items():
                text = re.sub(f"^{re.escape(old)}", new, text, flags=re.MULTILINE)
            if page == "tutorial.md":  # from a random model nothing is learned, and no head written
                text = text.replace("--head head.safetensors", "--head none")
                text += " || [ $? = 1 ]" if text.startswith("tagger learn") else ""
            commands.append(text)
        outcomes = pages.run(commands, checkout, environment)
    last = outcomes[-1]
    assert last.code == 0, f"{commands[len(outcomes) - 1]}\n{last.output}"
    return [(block, outcome.output) for block, outcome in zip(blocks, outcomes, strict=True)]


def shape(text: str) -> list[list[str]]:
    """The words that no model changes: what is not a number, a tag or an id, line by line."""
    return [re.findall(r"[A-Za-z]{3,}", line.split("{")[0]) for line in text.splitlines()]


def test_the_quick_start(checkout: Path, path: str, tiny_folder: Path) -> None:
    ran = run("quickstart.md", checkout, path, tiny_folder)
    outputs = "\n".join(output for _, output in ran)
    assert outputs.count('{"id":"examples/readmes/inkmoss.md","tags":[') == 3
    assert "mine.json: 4 tags, no problems" in outputs


def test_the_tutorial(checkout: Path, path: str, tiny_folder: Path) -> None:
    ran = run("tutorial.md", checkout, path, tiny_folder)
    for block, output in ran:
        if block.shown is None:
            continue
        if block.commands.startswith("tagger learn") or "sort" in block.commands:
            assert output  # which lines there are depends on the model
        else:
            output = output.replace(str(checkout.resolve()), pages.CHECKOUT)
            assert shape(output) == shape(block.shown), block.commands
    rows = (checkout / "catalogue" / "out.jsonl").read_text().splitlines()
    assert sum('"source":"human"' in row for row in rows) == 50
    assert len(rows) == len(list((checkout / "catalogue" / "packages").iterdir()))


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide(page: str, checkout: Path, path: str, tiny_folder: Path) -> None:
    ran = run(page, checkout, path, tiny_folder)
    assert any(output for _, output in ran)
