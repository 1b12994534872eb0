"""The Python of the docs; that of docs/library.md runs, with a tiny model and a server of ours."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from support import ROOT, fake_server
from tagger.models import load as loading
from tagger.models.language import LanguageModel

PAGE = ROOT / "docs" / "library.md"


def test_every_example_runs(
    tmp_path: Path,
    tiny_model: LanguageModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loading, "load", lambda *_args, **_options: tiny_model)
    monkeypatch.chdir(tmp_path)
    texts = [f"# Project {n}\n\nA web server, number {n}." for n in range(12)]
    rows = [{"id": str(n), "readme": text} for n, text in enumerate(texts)]
    Path("tags.json").write_text('["cli", "web", "game"]')
    Path("README.md").write_text(texts[0])
    Path("readmes").mkdir()
    for n, text in enumerate(texts):
        Path("readmes", f"{n}").mkdir()
        Path("readmes", f"{n}", "README.md").write_text(text)
    Path("dump.jsonl").write_text("\n".join(map(json.dumps, rows)))
    labels = [{**row, "tags": ["web"]} for row in rows]
    Path("labels.jsonl").write_text("\n".join(map(json.dumps, labels)))
    many = [
        {"id": str(n), "readme": f"A game, number {n}.", "tags": [("web", "game")[n % 2]]}
        for n in range(30)
    ]
    Path("many.jsonl").write_text("\n".join(map(json.dumps, many)))
    names: dict[str, Any] = {}
    with fake_server.serving() as server:
        for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
            exec(code.replace("http://localhost:8000/v1", server.url), names)
    assert len(Path("out.jsonl").read_text().splitlines()) == 24
    assert capsys.readouterr().out.startswith('{"id":"1375","tags":[')


@pytest.mark.parametrize("page", sorted(path.name for path in PAGE.parent.glob("*.md")))
def test_the_python_of_a_page_can_be_read(page: str) -> None:
    for code in re.findall(r"```python\n(.*?)```", (PAGE.parent / page).read_text(), re.S):
        compile(code, page, "exec")
