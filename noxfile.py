"""The fast tests with every Python that is here: `make matrix`, and what CI runs.

Each session has an environment of its own under `.nox/`. A Python that is not here is named as
skipped; with `CI` set it is an error.
"""

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"

# The commands that pyenv puts on the path answer only for the version it is told to use.
_PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions").glob("3.*/bin")
os.environ["PATH"] = os.pathsep.join([*map(str, sorted(_PYENV)), os.environ["PATH"]])


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
@nox.parametrize("versions", ["pinned", "lowest", "newest"], ids=["pinned", "lowest", "newest"])
def tests(session: nox.Session, versions: str) -> None:
    """Run `make test-fast` with pinned requirements, or the lowest or newest that are allowed."""
    wheels = ["--only-binary", ":all:"]
    constraints = []
    if versions == "pinned":
        constraints = ["--constraint", "constraints.txt"]
    elif versions == "lowest":
        # Of the package and its extras: what developers need besides has no lower bounds.
        lowest = str(Path(session.virtualenv.location, "lowest.txt").resolve())
        session.run_install(
            *("uv", "pip", "compile", "--quiet", "pyproject.toml"),
            *("--extra", "all", "--extra", "ray"),
            *("--python", session.virtualenv.bin + "/python", "--resolution", "lowest-direct"),
            *(*wheels, "--output-file", lowest),
            external=True,
        )
        constraints = ["--constraint", lowest]
    extras = ["--requirement", "pyproject.toml"]
    extras += ["--extra", "all", "--extra", "dev", "--extra", "ray"]
    session.install(*wheels, *constraints, *extras)
    session.install("--no-deps", "--editable", ".")
    session.run(
        *("python", "-m", "pytest", "-n", "2", "-m"),
        # `shared` is a folder that only the project's own machines have.
        "not slow and not network and not real_model and not servers and not quantize "
        "and not shared",
        *session.posargs,
        env={"OMP_NUM_THREADS": "1"},
    )


@nox.session
def build(session: nox.Session) -> None:
    """Build the distributions into `dist/` and check them."""
    session.install("check-wheel-contents==0.6.3", "twine==7.0.0")
    session.run_install("uv", "build", "--quiet", "--clear", external=True)
    distributions = [str(path) for path in sorted(Path("dist").glob("readme_tagger-*"))]
    session.run("twine", "check", "--strict", *distributions)
    session.run("check-wheel-contents", "dist")
