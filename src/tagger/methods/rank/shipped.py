"""Heads that ship with the package: what the labels of its makers have taught about common tags.

There is one for each model of the catalogue, learned with the default prompt and README tokens by
`scripts/fit_heads.py`.
"""

import logging
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from tagger.errors import HeadError
from tagger.methods.base import Identity
from tagger.methods.rank.head import Head
from tagger.models.fetch.catalogue import catalogue
from tagger.vocabulary import Vocabulary

log = logging.getLogger(__name__)


def shipped_head(model: str, identity: Identity, vocabulary: Vocabulary) -> Head | None:
    """Return the head that ships for a model, or None where there is none that fits.

    Args:
        model: the name of the model. By it a model of the catalogue is known, whose weights are
            checked when it is fetched; its files may have been converted by another version of
            Transformers than those that the head was learned with.
        identity: what features and rankings depend on.
        vocabulary: the tags, at least one of which the head must know.

    """
    path = head_path(model)
    if model not in catalogue() or not path.is_file():
        return None
    head = _load(path)
    if not (head.known(vocabulary) >= 0).any():
        return None
    try:
        head.check(identity, model)
    except HeadError as error:
        difference = str(error).partition(";")[0]
        log.info("%s, so the head that ships for %s is not used", difference, model)
        return None
    return head


def head_path(model: str) -> Path:
    """Return where the head that ships for a model is, if there is one."""
    return Path(str(files(__package__))) / "heads" / f"{model}.safetensors"


@cache
def _load(path: Path) -> Head:
    return replace(Head.load(path), source="")
