"""What a body must be before it is parsed: JSON in UTF-8, of not too many values.

Parsing and validation run in the event loop, where everybody waits for them. What they take goes by
the number of values in a body rather than by its size.
"""

import re
from email.message import Message

from tagger.serve.failures import Refusal

MOST_VALUES = 50_000
"""Values in a body, about: its commas, colons and brackets are counted."""

_STRUCTURE = (b",", b":", b"[", b"{")
# An unterminated string matches too: otherwise each quote in it would be tried in turn.
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\Z)', re.DOTALL)
_ESCAPE = re.compile(
    rb"""\\(?:
        u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}  # a pair
        | (?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})
        | .
    )""",
    re.DOTALL | re.VERBOSE,
)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def check(body: bytes, content_type: str) -> None:
    """Raise `Refusal` for a body that is not to be parsed; an empty one is left to validation."""
    if not body:
        return
    if not _is_json(content_type):
        raise Refusal(415, "the body is not declared as JSON: send Content-Type: application/json")
    # JSON parsers guess UTF-16 and UTF-32, which have zero bytes; no JSON in UTF-8 has any.
    try:
        body.decode()
    except UnicodeDecodeError:
        raise Refusal(400, "the body is not UTF-8") from None
    if b"\0" in body:
        raise Refusal(400, "the body has zero bytes: send JSON in UTF-8")
    if _values(body) > MOST_VALUES and _values(_STRING.sub(b"", body)) > MOST_VALUES:
        raise Refusal(413, f"the body has more than {MOST_VALUES:,} values: send less at a time")
    if _SURROGATE.search(body) and any(found["lone"] for found in _ESCAPE.finditer(body)):
        raise Refusal(400, r"the body has half a surrogate pair, such as \ud800: send whole ones")


def with_whole_pairs(text: str) -> str:
    """Return JSON in which the replacement character stands for each half of a surrogate pair."""
    body = text.encode()
    if not _SURROGATE.search(body):
        return text
    return _ESCAPE.sub(lambda found: b"\\ufffd" if found["lone"] else found[0], body).decode()


def _is_json(content_type: str) -> bool:
    """Say whether FastAPI takes this for JSON."""
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (
        subtype == "json" or subtype.endswith("+json")
    )


def _values(body: bytes) -> int:
    return sum(map(body.count, _STRUCTURE))
