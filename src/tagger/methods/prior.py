"""What the model would say without a README.

A language model prefers some tags before it has read anything: common words, the head of the
list. That preference, measured on texts without content, is subtracted in part from every score
(Zhao et al. 2021, "Calibrate Before Use"; Holtzman et al. 2021, "Surface Form Competition").
"""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tagger.paths import cache_home, write_atomically

BACKGROUND = ("N/A", "...")
"""Texts without content; anything that looks like a README brings content of its own."""

log = logging.getLogger(__name__)


def prior(identity: str, shape: tuple[int, int], score: Callable[[str], Tensor]) -> Tensor:
    """Return the mean log-probability of every tag over `BACKGROUND`, [questions, tags].

    Args:
        identity: a digest of everything that `score` depends on.
        shape: the number of questions and of tags.
        score: gives [questions, tags] log-probabilities of a text.

    It is kept in the cache folder under the identity and the texts; a damaged file is computed
    anew, and a folder that cannot be written is only warned of.

    """
    key = hashlib.sha256(json.dumps([identity, BACKGROUND]).encode()).hexdigest()
    path = cache_home() / "priors" / f"{key[:40]}.json"
    known = _load(path, shape)
    if known is None:
        known = torch.stack([score(text) for text in BACKGROUND]).mean(dim=0)
        try:
            write_atomically(path, json.dumps(known.tolist()))
        except OSError as error:
            log.warning("the prior cannot be kept for the next run: %s", error)
    return known


def _load(path: Path, shape: tuple[int, int]) -> Tensor | None:
    try:
        values = torch.tensor(json.loads(path.read_text(encoding="utf-8")), dtype=torch.float32)
    except (OSError, ValueError, TypeError):
        return None
    return values if values.shape == shape and values.isfinite().all() else None
