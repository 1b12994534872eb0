"""Models by their ids, `owner/name`: from the Hugging Face Hub, or from ModelScope.

`TAGGER_HUB` says which of the two, `huggingface` (the default) or `modelscope`. Each keeps what it
has fetched in a cache of its own client, and only files of the kinds in `FILES` are asked for: no
code and no pickles.
"""

import fnmatch
import io
import logging
import os
import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

from tagger._util.extras import need
from tagger.errors import DigestError, ModelMissingError, UnknownModelError, UsageError

if TYPE_CHECKING:
    from modelscope_hub import HubApi
    from modelscope_hub.types import FileInfo

FILES = ("*.json", "*.safetensors", "*.jinja", "merges.txt")
"""Patterns of the files that a model is made of."""

HUBS = ("huggingface", "modelscope")
"""What `TAGGER_HUB` may say."""

_PLAIN_NAME = re.compile(r"\w[\w.-]*")

log = logging.getLogger(__name__)


def snapshot(
    repository: str,
    patterns: Sequence[str] = FILES,
    *,
    offline: bool = False,
) -> Path:
    """Return the folder of a hub's model, fetching what is missing of it.

    The hubs' clients draw bars of their own on a terminal.

    Args:
        repository: the model's id, such as `Qwen/Qwen2.5-7B-Instruct`.
        patterns: which files.
        offline: never touch the network.

    Raises:
        UsageError: `TAGGER_HUB` names no hub; `MissingPackageError`, a subclass: ModelScope's
            client is not installed.
        UnknownModelError: the hub has no such model.
        ModelMissingError: it could not be fetched, or `offline` forbids fetching it.
        DigestError: ModelScope has sent something else than it lists.

    """
    hub = os.environ.get("TAGGER_HUB") or HUBS[0]
    if hub not in HUBS:
        raise UsageError(f"TAGGER_HUB is {hub!r}: set it to {' or '.join(HUBS)}")
    if hub == "modelscope":
        return _from_modelscope(repository, patterns, offline=offline)
    return _from_hugging_face(repository, list(patterns), offline=offline)


def _from_hugging_face(repository: str, patterns: list[str], *, offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    def folder(*, here: bool) -> Path:
        return Path(
            snapshot_download(
                repository, allow_patterns=patterns, etag_timeout=5, local_files_only=here
            )
        )

    def is_here() -> bool:
        try:
            return any(folder(here=True).glob("*.safetensors"))
        except LocalEntryNotFoundError:
            return False

    try:
        if not offline and "*.safetensors" in patterns and not is_here():
            planned = snapshot_download(
                repository, allow_patterns=patterns, etag_timeout=5, dry_run=True
            )
            size = sum(file.file_size or 0 for file in planned if file.will_download)
            _announce(repository, "the Hugging Face Hub", size)
        return folder(here=offline)
    except RepositoryNotFoundError as error:
        raise UnknownModelError(
            f"{repository}: the Hub has no such model, or it is private or gated"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError, ValueError) as error:
        raise _missing(repository, "the local Hub cache", offline=offline) from error


def _from_modelscope(repository: str, patterns: Sequence[str], *, offline: bool) -> Path:
    need("modelscope")
    from modelscope_hub import HubApi, HubConfig
    from modelscope_hub.errors import (
        AuthenticationError,
        FileIntegrityError,
        NotExistError,
        PermissionDeniedError,
    )

    logging.getLogger("modelscope_hub").setLevel(logging.CRITICAL)
    api = HubApi(HubConfig())
    try:
        if not offline:
            _fetch(api, repository, patterns)
        return api.download_repo(repository, "model", local_files_only=True)
    except (AuthenticationError, NotExistError, PermissionDeniedError) as error:
        raise UnknownModelError(
            f"{repository}: ModelScope has no such model, or it is private"
        ) from error
    except FileIntegrityError as error:
        raise DigestError(
            f"{repository}: ModelScope has sent a file whose size or SHA-256 is not the listed "
            "one, so it was removed: try again, or fetch the model elsewhere and pass its folder"
        ) from error
    except Exception as error:  # whatever its client makes of a server's answers
        log.debug("ModelScope: %s", error)
        raise _missing(repository, "ModelScope's local cache", offline=offline) from error


def _fetch(api: "HubApi", repository: str, patterns: Sequence[str]) -> None:
    """Download the files that are not here at their sizes.

    The client compares each with the size and, where it is stated, the SHA-256 of the listing, and
    removes what differs.
    """
    listed = api.list_repo_files(repository, "model", recursive=False)
    # A path could lead out of the cache: only names are taken.
    files = [
        file
        for file in listed
        if not file.is_dir
        and file.size > 0
        and _PLAIN_NAME.fullmatch(file.path)
        and any(fnmatch.fnmatchcase(file.path, pattern) for pattern in patterns)
    ]
    lacking = [file for file in files if not _is_here(api, repository, file)]
    if any(file.path.endswith(".safetensors") for file in lacking):
        _announce(repository, "ModelScope", sum(file.size for file in lacking))
    # The client draws its bars wherever stderr leads, where nothing but messages should be.
    shown = nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
    with shown:
        for file in lacking:
            api.download_file(
                repository, "model", file.path, file_size=file.size, expected_sha256=file.sha256
            )


def _is_here(api: "HubApi", repository: str, file: "FileInfo") -> bool:
    from modelscope_hub.errors import CacheNotFound

    try:
        path = api.download_file(repository, "model", file.path, local_files_only=True)
    except CacheNotFound:
        return False
    return path.stat().st_size == file.size


def _announce(repository: str, hub: str, size: int) -> None:
    log.info(
        "fetching %s, the model that reads READMEs here, from %s: %.2f GB, once",
        repository,
        hub,
        size / 1e9,
    )


def _missing(repository: str, cache: str, *, offline: bool) -> ModelMissingError:
    absent = f"{repository} is neither a folder nor in {cache}"
    return ModelMissingError(
        f"{absent}: fetch it without --offline, or elsewhere and pass its folder"
        if offline
        else f"{absent}, and could not be fetched: check the name and the network, or fetch it "
        "elsewhere and pass its folder"
    )
