"""The same batch on many machines, by Ray Data.

Ray schedules, moves data, and repeats what was lost with a machine. This package adds what Ray
cannot know: how an actor tags, which READMEs are equal, and which rows are there already.
"""

from tagger.ray.dataset import tag

__all__ = ["tag"]
