"""Optional packages: what lacks one is told so in a line, before anything is read."""

import re
import sys
import tomllib

import pytest

import tagger
from support import ROOT
from support.console import Run
from support.messages import check_line, refused
from tagger._util.extras import EXTRAS, need
from tagger.errors import MissingPackageError

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = {
    extra: {re.split(r"[^\w.-]", requirement)[0] for requirement in requirements}
    for extra, requirements in PYPROJECT["project"]["optional-dependencies"].items()
}


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("openai", ("run", "none.md", "--endpoint", "http://localhost:1/v1", "--model", "m")),
        ("llguidance", ("batch", "none", "--method", "generate")),
        ("json_repair", ("prompt", "none.md", "--method", "generate")),
        ("sklearn", ("calibrate", "--labels", "none.jsonl")),
        ("pyarrow", ("eval", "none.jsonl", "--dump", "scores.parquet")),
        ("fastapi", ("serve",)),
        ("prometheus_client", ("serve",)),
        ("mcp", ("mcp",)),
    ],
)
def test_what_lacks_a_package_says_how_to_install_it(
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    command: tuple[str, ...],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    outcome = run(*command, "--tags", "none.json", model="none")
    assert outcome.code == 2
    assert outcome.out == ""
    check_line(outcome.err)


@pytest.mark.parametrize(
    ("name", "module"), [("Endpoint", "openai"), ("Generate", "llguidance"), ("learn", "scipy")]
)
def test_the_library_says_so_too(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with refused(MissingPackageError):
        getattr(tagger, name)


def test_all_that_is_missing_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in EXTRAS["learn"][1]:
        monkeypatch.setitem(sys.modules, module, None)
    with refused(MissingPackageError):
        need("learn")


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(extra, marks=[pytest.mark.quantize] if extra == "quantize" else [])
        for extra in EXTRAS
    ],
)
def test_extras_install_what_is_asked_for(extra: str) -> None:
    assert set(EXTRAS[extra][1].values()) <= DECLARED[extra]
    need(extra)


def test_all_is_every_extra_but_those_of_developers_and_clusters() -> None:
    assert PYPROJECT["project"]["optional-dependencies"]["all"] == [
        f"readme-tagger[{','.join(sorted(set(DECLARED) - {'all', 'dev', 'quantize', 'ray'}))}]"
    ]
