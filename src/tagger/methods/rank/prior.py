"""The prior: the log-probabilities of the tags for texts without content.

A language model prefers some tags before it has read a README: common words, the head of the list.
That preference, measured on content-free texts, is subtracted in part from every score (Zhao et al.
2021, "Calibrate Before Use"; Holtzman et al. 2021, "Surface Form Competition").
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import torch

from tagger._util.files import write_atomically
from tagger._util.hashing import digest
from tagger._util.paths import cache_home
from tagger.methods.rank.evidence import TagLogProbs

CONTENT_FREE = ("N/A", "...")
"""Texts without content; anything that looks like a README brings content of its own."""

_KEYS = ("full", "first")

log = logging.getLogger(__name__)


def prior(
    identity: str, shape: tuple[int, int], score: Callable[[str], TagLogProbs]
) -> TagLogProbs:
    """Return the mean over `CONTENT_FREE` of the log-probability of every tag.

    It is cached under the identity and the texts. If the file is damaged it is computed again; if
    the cache folder cannot be written, a warning is logged.

    Args:
        identity: a digest of everything that `score` depends on.
        shape: the number of branches and of tags.
        score: gives the log-probabilities for a text, [branches, tags].

    """
    path = cache_home() / "priors" / f"{digest([identity, CONTENT_FREE])[:40]}.json"
    log_probs = _load(path, shape)
    if log_probs is not None:
        return log_probs
    log_probs = TagLogProbs.stack([score(text) for text in CONTENT_FREE]).mean()
    try:
        write_atomically(path, json.dumps({key: getattr(log_probs, key).tolist() for key in _KEYS}))
    except OSError as error:
        log.warning("the prior cannot be cached for the next run: %s", error)
    return log_probs


def _load(path: Path, shape: tuple[int, int]) -> TagLogProbs | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        full, first = (torch.tensor(content[key], dtype=torch.float32) for key in _KEYS)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    sound = all(part.shape == shape and part.isfinite().all() for part in (full, first))
    return TagLogProbs(full, first) if sound else None
