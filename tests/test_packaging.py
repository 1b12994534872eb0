"""The package as it is built, installed into environments of its own and used there."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from support import ROOT, environments
from support.environments import requirements
from support.fake_server import serving
from tagger._util.extras import EXTRAS
from tagger.cli.app import app

pytestmark = pytest.mark.slow

PINS = {
    canonicalize_name(requirement.name): requirement
    for requirement in map(
        Requirement,
        filter(
            lambda line: line and not line.startswith("#"),
            (ROOT / "constraints.txt").read_text().splitlines(),
        ),
    )
}

BASE_BYTES = 290e6
"""The most that a base install takes beside PyTorch and Transformers. It was 636 MB when all was
one."""

USES_EVERYTHING = """
import importlib, pkgutil, sys
import tagger
from tagger.cli import main

for module in pkgutil.walk_packages(tagger.__path__, "tagger."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
for line in sys.stdin.read().splitlines():
    sys.argv = ["tagger", *line.split()]
    try:
        main()
    except SystemExit as exit_:
        if exit_.code:
            raise RuntimeError(f"{line}: {exit_.code}")
"""

PROGRAM = '''
"""What a user may write."""

from pathlib import Path

from tagger import Readme, Selection, Tagger, TaggerError, Vocabulary


def names(path: Path) -> list[str]:
    tagger = Tagger.load("qwen2.5-coder-0.5b", Vocabulary.load("tags.json"), Selection(max_tags=2))
    try:
        return [tag.name for tagging in tagger.tag([Readme.read(path)]) for tag in tagging.tags]
    except TaggerError as error:
        return [str(error)]
'''

MISTAKES = {
    "max_tags=2": ('max_tags="2"', 'incompatible type "str"; expected "int"'),
    "tag.name": ("tag.label_", '"GivenTag" has no attribute "label_"'),
    "-> list[str]": ("-> list[int]", "incompatible type List[str]; expected List[int]"),
}
"""By what the program says: what it might say wrongly, and the complaint."""


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    environments.link_given(folder)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is published: it is built from the source distribution."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "build", "--quiet", "--out-dir", folder, ROOT], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def base(given: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the package, its pinned requirements, and no extra."""
    folder = tmp_path_factory.mktemp("base")
    return environments.make(folder, given, "--constraint", ROOT / "constraints.txt", wheel)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to work in, away from the checkout."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    names, words = ("game-engine", "cli", "3d"), ("alpha beta", "omega psi", "xyz")
    (folder / "README.md").write_text("# Voxel\n\nA game engine.")
    (folder / "tags.json").write_text(json.dumps(names))
    rows = [
        {"id": str(n), "readme": f"{words[n % 3]} {n}", "tags": [names[n % 3]]} for n in range(36)
    ]
    (folder / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def tagger(python: Path, folder: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [python.with_name("tagger"), *args]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def commands(group: Any, *path: str) -> Iterator[str]:
    """Yield every command line that asks for help."""
    yield " ".join((*path, "--help"))
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *path, name)


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_what_is_required_is_pinned_within_its_bounds() -> None:
    extras = environments.PROJECT["optional-dependencies"]
    for requirement in requirements(*(set(extras) - {"all"})):
        (pin,) = PINS[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "=="
        assert pin.version in requirement.specifier, requirement


def test_what_is_pinned_is_what_is_installed() -> None:
    here = environments.reachable()
    for name, pin in PINS.items():
        assert (
            name in environments.APART or metadata.version(name).partition("+")[0] in pin.specifier
        )
    assert here | environments.APART == set(PINS)


@pytest.mark.network
def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    source = ROOT / "src"
    files = [path for path in (source / "tagger").rglob("*") if path.is_file()]
    names = {str(path.relative_to(source)) for path in files if "__pycache__" not in path.parts}
    assert "tagger/py.typed" in names
    held = zipfile.ZipFile(wheel).namelist()
    assert {name for name in held if ".dist-info/" not in name} == names


@pytest.mark.network
def test_a_base_install_runs(base: Path, folder: Path, tiny_folder: Path) -> None:
    done = tagger(base, folder, "run", "README.md", "--model", tiny_folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["id"] == "README.md"
    done = tagger(
        base, folder, "eval", "labels.jsonl", "--model", tiny_folder, "--report", "report.html"
    )
    assert done.returncode == 0, done.stderr
    assert "<svg" in (folder / "report.html").read_text()
    assert bytes_of(environments.site_packages(base.parents[1])) < BASE_BYTES


@pytest.mark.network
@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("run README.md --endpoint http://localhost:1/v1 --model m", "endpoint"),
        ("run README.md --method generate", "generate"),
        ("calibrate --labels labels.jsonl", "learn"),
        ("eval labels.jsonl --dump scores.parquet", "parquet"),
        ("serve", "serve"),
        ("mcp", "mcp"),
    ],
)
def test_a_base_install_says_what_it_lacks(
    base: Path, folder: Path, command: str, extra: str
) -> None:
    done = tagger(base, folder, *command.split())
    assert done.returncode == 2
    packages = EXTRAS[extra][1].values()
    assert done.stderr.endswith(f": pip install {' '.join(packages)}\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.network
def test_a_program_of_a_users_is_checked_against_the_types(base: Path, tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(PROGRAM)
    for name in ("README", "docs/library"):  # what people copy
        code = re.findall(r"```python\n(.*?)```", (ROOT / f"{name}.md").read_text(), re.S)
        (tmp_path / f"{Path(name).stem.lower()}_right.py").write_text("\n".join(code))
    for number, (right, (wrong, _)) in enumerate(MISTAKES.items()):
        assert right in PROGRAM
        (tmp_path / f"wrong{number}.py").write_text(PROGRAM.replace(right, wrong))
    # What is not ours takes a minute to look through.
    (tmp_path / "mypy.ini").write_text(
        "[mypy]\nstrict = True\n[mypy-torch.*,transformers.*,numpy.*]\nfollow_imports = skip\n"
    )
    files = sorted(path.name for path in tmp_path.glob("*.py"))
    mypy: list[str | Path] = [sys.executable, "-m", "mypy", "--python-executable", base, *files]
    done = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True)
    assert "right.py" not in done.stdout, done.stdout
    assert done.stdout.splitlines()[-1].startswith(f"Found 4 errors in {len(MISTAKES)} files")
    for number, (_, complaint) in enumerate(MISTAKES.values()):
        (line, *_) = [line for line in done.stdout.splitlines() if f"wrong{number}.py" in line]
        assert complaint in line


@pytest.mark.versions
@pytest.mark.network
@pytest.mark.parametrize("bounds", ["lowest", "newest"])
def test_everything_runs_with_any_versions_that_are_allowed(
    bounds: str, given: Path, wheel: Path, folder: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text(environments.lowest() if bounds == "lowest" else "")
    python = environments.make(tmp_path / "env", given, "-c", constraints, f"{wheel}[all]")
    assert tagger(python, folder, "--version").returncode == 0
    model = f"--model {tiny_folder}"
    with serving() as server:
        lines = [
            *commands(get_command(app)),
            f"run README.md {model}",
            f"run README.md {model} --method generate",
            f"run README.md --model m --endpoint {server.url}",
            f"batch labels.jsonl {model} -o table.parquet",
            f"eval labels.jsonl {model} --dump scores.parquet --report report.html",
            f"calibrate --labels labels.jsonl {model}",
            f"learn labels.jsonl {model}",
            f"batch labels.jsonl {model} --head head.safetensors",
        ]
        done = subprocess.run(
            [python, "-c", USES_EVERYTHING],
            cwd=folder,
            input="\n".join(lines),
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr[-3000:]
