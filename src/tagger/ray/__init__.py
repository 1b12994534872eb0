"""The same batch on many machines, by Ray Data.

Ray schedules, moves data, and tries again where a machine is lost. What is here is only what it
cannot know: how an actor tags, which READMEs are equal, and which rows are there already.
"""

from tagger.ray.dataset import tag

__all__ = ["tag"]
