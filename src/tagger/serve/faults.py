"""What is wrong with a body, in the words of our messages instead of Pydantic's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagger._util.text import storable
from tagger._util.validation import PREFIX
from tagger.errors import InputError

TOO_LARGE = "too_large"
"""The kind of a fault that is a matter of size: more READMEs, questions or options than allowed."""

_LONGEST = 80
"""Characters of a key that are repeated in a message."""

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""The kinds of JSON that are expected, by what Pydantic calls anything else."""

_REASONS = {
    "missing": ("missing", "is missing"),
    "json_invalid": ("json_invalid", "is not JSON"),
    "extra_forbidden": ("unknown_field", "is not a known field"),
    "string_too_short": ("invalid", "must not be empty"),
    "string_too_long": ("invalid", "has more than {max_length:,} characters"),
    "too_short": ("invalid", "has too few entries: {min_length} is the minimum"),
    "too_long": (TOO_LARGE, "has more than {max_length:,} entries"),
    "greater_than_equal": ("invalid", "must be at least {ge:g}"),
    "less_than_equal": ("invalid", "must be at most {le:g}"),
    "finite_number": ("invalid", "must be a number"),
    "literal_error": ("invalid", "must be {expected}"),
    "union_tag_not_found": ("missing", "lacks {discriminator}"),
    "union_tag_invalid": ("invalid", "has an unknown {discriminator}: give one of {expected_tags}"),
}
"""Our kind of a fault and the reason, by Pydantic's kind."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a body.

    Attributes:
        place: keys and positions on the way to it; empty for the whole body.
        kind: a word for programs.
        reason: what is wrong, without the place.

    """

    place: tuple[str | int, ...]
    kind: str
    reason: str

    @property
    def param(self) -> str | None:
        """The place in a line; none for the whole body."""
        return ".".join(str(part)[:_LONGEST] for part in self.place) or None

    def __str__(self) -> str:
        """Return the place and the reason, in a line."""
        return f"{self.param}: {self.reason}" if self.place else self.reason


class InvalidBodyError(InputError):
    """Something is wrong with a body that only the model could tell.

    Args:
        fault: what, and where.

    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


def faults(errors: Iterable[Mapping[str, Any]], body: object) -> list[Fault]:
    """Return what Pydantic has found wrong, once for each place in a body.

    Where Pydantic has tried several readings of a value, those that went furthest count; where all
    failed at once, one fault names all kinds of value that are expected.

    Args:
        errors: as Pydantic lists them, at places within the body.
        body: the JSON.

    """
    found: dict[tuple[str | int, ...], list[Mapping[str, Any]]] = {}
    for error in errors:
        found.setdefault(_place(error, body), []).append(error)
    return [
        _fault(place, here)
        for place, here in found.items()
        if not any(len(other) > len(place) and other[: len(place)] == place for other in found)
    ]


def _place(error: Mapping[str, Any], body: object) -> tuple[str | int, ...]:
    """Return where in the body an error is, without Pydantic's names for how it reads a value."""
    place: list[str | int] = []
    loc = error["loc"]
    for number, part in enumerate(loc, start=1):
        if (isinstance(body, dict) and part in body) or (
            isinstance(body, list) and isinstance(part, int) and part < len(body)
        ):
            body = body[part]
        elif not (number == len(loc) and error["type"] == "missing"):
            continue
        place.append(storable(part) if isinstance(part, str) else part)
    return tuple(place)


def _fault(place: tuple[str | int, ...], errors: Sequence[Mapping[str, Any]]) -> Fault:
    """Return the one fault of a place."""
    subject = "" if place else "the body "
    expected = dict.fromkeys(_KINDS[each["type"]] for each in errors if each["type"] in _KINDS)
    others = [each for each in errors if each["type"] not in _KINDS]
    if not others:
        return Fault(place, "wrong_type", f"{subject}must be {' or '.join(expected)}")
    error = others[0]
    if error["type"] in _REASONS:
        kind, reason = _REASONS[error["type"]]
        return Fault(place, kind, subject + reason.format(**error.get("ctx", {})))
    reason = storable(str(error["msg"]).removeprefix(PREFIX))
    return Fault(place, error["type"], reason)
