"""Built-in heads: what the labels of the package's makers have taught about common tags.

There is one for each model of the catalogue and each README budget of an effort, learned with the
default prompt by `scripts/fit_heads.py`.
"""

import logging
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from tagger.errors import HeadError
from tagger.methods.base import Identity
from tagger.methods.rank.head import Head
from tagger.models.fetch.catalogue import catalogue
from tagger.types import README_TOKENS
from tagger.vocabulary import Vocabulary

log = logging.getLogger(__name__)


def head_in_force(
    head: Head | Literal["shipped"] | None,
    model: str,
    identity: Identity,
    vocabulary: Vocabulary,
    width: int,
) -> Head | None:
    """Return the head that tags are ranked by: the one asked for, or else the built-in one.

    Args:
        head: what was asked for.
        model: the name of the model.
        identity: what features and rankings depend on.
        vocabulary: the tags.
        width: how many numbers the features of a README are.

    Raises:
        HeadError: the head belongs to something else.

    """
    if isinstance(head, Head):
        head.check(identity, model)
        head.check_shape(width)
        if head.weight and (head.known(vocabulary) >= 0).any():
            for old, new in head.renames(vocabulary):
                log.info("the head knows the tag %r as %r: both have the same id", new, old)
            return head
        useless = "knows none of these tags" if head.weight else "has no effect"
        log.warning("the head %s, so tags are ranked as without --head", useless)
    return shipped_head(model, identity, vocabulary) if head else None


def shipped_head(model: str, identity: Identity, vocabulary: Vocabulary) -> Head | None:
    """Return the head that ships for a model, or None where there is none that fits.

    Args:
        model: the name of the model. By it a model of the catalogue is known, whose weights are
            checked when it is fetched; its files may have been converted by another version of
            Transformers than those that the head was learned with.
        identity: what features and rankings depend on.
        vocabulary: the tags, at least one of which the head must know.

    """
    path = head_path(model, identity.features.readme_tokens)
    if not path.is_file():
        path = head_path(model)  # whose mismatch is reported
    if model not in catalogue() or not path.is_file():
        return None
    head = _load(path)
    if not (head.known(vocabulary) >= 0).any():
        return None
    try:
        head.check(identity, model)
    except HeadError as error:
        difference = str(error).partition(";")[0]
        log.info("%s, so the built-in head is not used", difference)
        return None
    return head


def head_path(model: str, readme_tokens: int = README_TOKENS) -> Path:
    """Return where the head that ships for a model and README budget is, if there is one."""
    return Path(str(files(__package__))) / "heads" / f"{model}-{readme_tokens}.safetensors"


@cache
def _load(path: Path) -> Head:
    return replace(Head.load(path), source="")
