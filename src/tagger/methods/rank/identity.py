"""What scores depend on."""

from tagger.methods.base import FeatureIdentity, Identity
from tagger.prompts.prompt import PromptTemplate
from tagger.readme.cleaning import CLEANING_VERSION
from tagger.readme.prose import PROSE_VERSION
from tagger.vocabulary import Vocabulary

CLEANING = f"{CLEANING_VERSION}.{PROSE_VERSION}"
"""The version of how a README becomes what is read of it."""

SCORING_VERSION = 8
"""Bump when the same input would be scored differently, so that nothing cached is reused."""


def scoring_identity(
    vocabulary: Vocabulary, template: PromptTemplate, weights: str = ""
) -> Identity:
    """Return what the prior of tags, and so a calibration, depends on, but for the machine.

    Args:
        vocabulary: the tags.
        template: the prompt.
        weights: a digest of the model, if it is known.

    """
    return Identity(
        FeatureIdentity(weights=weights, prompt=template.digest),
        method=f"rank {SCORING_VERSION}",
        vocabulary=vocabulary.wording,
    )
