"""Which models there are: the entries of `catalogue.json`, checked when read.

A model is named by what it *is*, the SHA-256 of the publisher's own file; where the bytes come from
(the official repository, or packages that mirror it) then needs no trust.
"""

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, PositiveInt, TypeAdapter

from tagger._util.hashing import Sha256
from tagger.errors import UnknownModelError
from tagger.models.fetch.mirror import Mirror, mirrors


class CatalogueEntry(BaseModel):
    """A model: the published file, its licence, and what it takes to run it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    repository: str
    """The publisher's repository on the Hugging Face Hub."""

    revision: str
    file: str
    bytes: PositiveInt
    sha256: Sha256
    licence: str
    """SPDX identifier."""

    parameters: PositiveInt
    memory_bytes: PositiveInt
    """Peak memory of `tagger run` on a processor in bfloat16, with READMEs cut to 768 tokens."""

    notes: str
    mirror: Mirror | None = None
    """Packages that hold the same file; they are listed apart, in `mirrors.json`."""

    @property
    def weights_bytes(self) -> int:
        """Return the size of the weights once converted: bfloat16, two bytes a parameter."""
        return 2 * self.parameters


@cache
def catalogue() -> Mapping[str, CatalogueEntry]:
    """Return every known model by name, in the catalogue's order."""
    text = resources.files(__package__).joinpath("catalogue.json").read_text("utf-8")
    entries = TypeAdapter(tuple[CatalogueEntry, ...]).validate_json(text)
    return MappingProxyType(
        {
            entry.name: entry.model_copy(update={"mirror": mirrors().get(entry.name)})
            for entry in entries
        }
    )


def entry(name: str) -> CatalogueEntry:
    """Return the entry called `name`. Raises `UnknownModelError` with the names there are."""
    known = catalogue()
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    if "/" in name:
        hint = (
            "models of the Hub are fetched when they are used, and folders are used as they are; "
        )
    raise UnknownModelError(f"no model is called {name!r}; {hint}known models: {', '.join(known)}")
