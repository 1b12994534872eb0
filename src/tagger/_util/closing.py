"""Things that are closed when the block that opened them ends."""

from abc import ABC, abstractmethod
from typing import Self


class Closing(ABC):
    """A context manager that is itself, and whose end is `close`."""

    @abstractmethod
    def close(self) -> None:
        """Give up what is held."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
