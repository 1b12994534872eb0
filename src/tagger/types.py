"""What the command line may import at once: defaults, and types without a home of their own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

DEFAULT_MODEL = "qwen2.5-coder-1.5b"

README_TOKENS = 128
"""The most that is read of a README: most of what it says is in its beginning."""


@dataclass(frozen=True)
class Effort:
    """A point between speed and accuracy.

    Attributes:
        model: the name of the model.
        readme_tokens: the most that is read of a README.

    """

    model: str
    readme_tokens: int

    @property
    def defaults(self) -> dict[str, str | int]:
        """What it sets, by the names of options."""
        return {"model": self.model, "readme_tokens": self.readme_tokens}


EFFORTS = {
    "fast": Effort("qwen2.5-coder-0.5b", 64),
    "balanced": Effort("qwen2.5-coder-1.5b", 64),
    "best": Effort(DEFAULT_MODEL, README_TOKENS),
}
"""Measured by `benchmarks/frontier.py`."""

DEFAULT_EFFORT: Literal["best"] = "best"

Progress = Callable[[str, int, int], None]
"""Hears what is under way, how much of it is done, and how much there is."""


def no_progress(what: str, done: int, total: int) -> None:
    """Show nothing."""
