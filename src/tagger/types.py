"""What the command line may import at once: defaults, and types without a home of their own."""

from collections.abc import Callable

DEFAULT_MODEL = "qwen2.5-coder-1.5b"

README_TOKENS = 128
"""The most that is read of a README: most of what it says is in its beginning."""

Progress = Callable[[str, int, int], None]
"""Hears what is under way, how much of it is done, and how much there is."""


def no_progress(what: str, done: int, total: int) -> None:
    """Show nothing."""
