"""The documentation site, as it is built."""

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import tagger
from support import ROOT

pytestmark = pytest.mark.slow

LOADED = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>"
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path


def test_nothing_is_loaded_from_other_hosts_and_every_public_name_is_there(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        assert LOADED.findall(page.read_text(encoding="utf-8")) == []
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8"))
    text = (site / "python.html").read_text(encoding="utf-8")
    for name in tagger.__all__:
        home = getattr(tagger, name).__module__
        assert f'id="{home}.{name}"' in text, name
    assert 'id="tagger.ray.dataset.tag"' in text


def test_the_pictures_are_well_formed_and_follow_the_reader() -> None:
    pictures = list((ROOT / "docs" / "pictures").glob("*.svg"))
    assert len(pictures) == 3
    for picture in pictures:
        text = picture.read_text(encoding="utf-8")
        ElementTree.fromstring(text)
        assert "prefers-color-scheme: dark" in text
