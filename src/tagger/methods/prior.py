"""What the model would say without a README.

A language model prefers some tags before it has read anything: common words, the head of the
list. That preference, measured on texts without content, is subtracted in part from every score
(Zhao et al. 2021, "Calibrate Before Use"; Holtzman et al. 2021, "Surface Form Competition").
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import torch

from tagger.digest import digest
from tagger.methods.answers import Answers
from tagger.paths import cache_home, write_atomically

BACKGROUND = ("N/A", "...")
"""Texts without content; anything that looks like a README brings content of its own."""

_KEPT = ("names", "starts")

log = logging.getLogger(__name__)


def prior(identity: str, shape: tuple[int, int], score: Callable[[str], Answers]) -> Answers:
    """Return the mean over `BACKGROUND` of what the model says of every tag.

    Args:
        identity: a digest of everything that `score` depends on.
        shape: the number of branches and of tags.
        score: gives the answers for a text.

    It is kept in the cache folder under the identity and the texts; a damaged file is computed
    anew, and a folder that cannot be written is only warned of.

    """
    key = digest([identity, BACKGROUND])
    path = cache_home() / "priors" / f"{key[:40]}.json"
    known = _load(path, shape)
    if known is None:
        answers = Answers.stack([score(text) for text in BACKGROUND])
        known = Answers(answers.names.mean(dim=0), answers.starts.mean(dim=0))
        kept = {key: getattr(known, key).tolist() for key in _KEPT}
        try:
            write_atomically(path, json.dumps(kept))
        except OSError as error:
            log.warning("the prior cannot be kept for the next run: %s", error)
    return known


def _load(path: Path, shape: tuple[int, int]) -> Answers | None:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        known = Answers(*(torch.tensor(kept[key], dtype=torch.float32) for key in _KEPT))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    sound = all(
        part.shape == shape and part.isfinite().all() for part in (known.names, known.starts)
    )
    return known if sound else None
