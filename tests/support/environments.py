"""Environments that tests install the package into, without 2 GB of PyTorch in each.

An environment has its own packages first. Behind them, through a .pth file, stands a folder of
links to PyTorch, Transformers and what PyTorch alone needs to run, as the tests themselves use
them, metadata included: pip takes these for installed. Nothing else can be seen from inside, so
that a requirement that was not declared is missed.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

_CHOSEN = {"torch", "transformers"}
_GIVEN = re.compile(r"torch|transformers|triton|nvidia-.*|cuda-.*", re.I)


def requirements(*extras: str) -> list[Requirement]:
    """What the package needs, and some of its extras."""
    optional = PROJECT["optional-dependencies"]
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in optional[extra])]
    return [Requirement(text) for text in texts]


def lowest() -> str:
    """Constraints under which pip installs the lowest version that each bound allows."""
    lines = []
    for requirement in requirements(*(set(PROJECT["optional-dependencies"]) - {"all", "dev"})):
        (least,) = [each.version for each in requirement.specifier if each.operator == ">="]
        if not _GIVEN.fullmatch(requirement.name):
            lines.append(f"{requirement.name}=={least}")
    return "\n".join(lines)


APART = {"torchao"}
"""What `make test-quantize` installs into a folder of its own."""


def reachable() -> set[str]:
    """Return all that an install with every extra brings, without what a GPU's PyTorch does.

    The extra `quantize` is left out: see `APART`.
    """
    seen: set[tuple[str, str]] = set()

    def visit(wanted: Iterable[Requirement], extra: str = "") -> None:
        for requirement in wanted:
            if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
                continue
            name = canonicalize_name(requirement.name)
            for each in ("", *requirement.extras):
                if (name, each) not in seen and name != PROJECT["name"]:
                    seen.add((name, each))
                    visit(map(Requirement, metadata.requires(name) or ()), each)

    visit(requirements(*(set(PROJECT["optional-dependencies"]) - {"quantize"})))
    names = {name for name, _ in seen}
    return {name for name in names if name in _CHOSEN or not _GIVEN.fullmatch(name)}


def link_given(folder: Path) -> None:
    """Link what is not installed again."""
    for distribution in metadata.distributions():
        if _GIVEN.fullmatch(distribution.metadata["Name"]):
            for name in {file.parts[0] for file in distribution.files or ()}:
                # Several packages of NVIDIA's have one folder in common.
                if name not in ("..", "__pycache__") and not (folder / name).exists():
                    (folder / name).symlink_to(str(distribution.locate_file(name)))


def make(folder: Path, given: Path, *what: str | Path) -> Path:
    """Make an environment and have pip install something; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    (site_packages(folder) / "given.pth").write_text(str(given))
    pip: list[str | Path] = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--no-compile", "--only-binary=:all:", *what], check=True)
    subprocess.run([*pip, "check"], check=True)
    return python


def site_packages(folder: Path) -> Path:
    """Return where an environment has its packages."""
    (found,) = (folder / "lib").glob("python*/site-packages")
    return found
