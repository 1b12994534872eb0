"""Reading small files: nothing is read without end, and nothing is parsed without end."""

from pathlib import Path

import pytest

from support.console import Run, one_line
from tagger._util.reading import parse_toml, read_bounded
from tagger.evaluation import labels


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_bounded(file, 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_bounded(file, 4)


@pytest.mark.parametrize(
    "args",
    [
        ("run", "README.md", "--prompt", "/dev/zero"),
        ("run", "README.md", "--calibration", "/dev/zero"),
        ("run", "README.md", "--tags", "/dev/zero"),
        ("eval", "/dev/zero"),
    ],
)
def test_no_file_is_read_without_end(
    run: Run, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    monkeypatch.setattr(labels, "MAX_LABELS", 1024 * 1024)
    outcome = run(*args)
    assert outcome.code == 2
    told = one_line(outcome.err if "--tags" in args else outcome.err.split("\n", 1)[1])
    assert "/dev/zero: " in told
    assert "larger than " in told


@pytest.mark.parametrize(
    "content",
    [
        b"a" + b".a" * 20_000 + b" = 1",
        b"a = " + b"[" * 5000,
        b"a = " + b"{a=" * 5000,
        b"\xff",
        b"a = 1" + b"1" * 5000,
    ],
)
def test_what_would_take_too_long_or_too_deep_is_no_toml(content: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        parse_toml(content)


def test_ordinary_toml_is_parsed() -> None:
    assert parse_toml(b'[a.b]\nc = "..."\r\n') == {"a": {"b": {"c": "..."}}}
