"""What Pydantic finds wrong, in the words of our messages."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

PREFIX = "Value error, "
"""What Pydantic puts before the message of a validator's `ValueError`."""


def first_fault(error: "ValidationError") -> str:
    """Return the place and the message of the first fault, in one line."""
    fault = error.errors()[0]
    place = ".".join(map(str, fault["loc"]))
    message = fault["msg"]
    if message.startswith(PREFIX):
        return message.removeprefix(PREFIX)
    return f"{place}: {message[0].lower()}{message[1:]}" if place else message
