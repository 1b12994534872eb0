"""Text on its way to a terminal or a file."""

import re
import unicodedata

_UNSAFE_IN_JSON = re.compile(
    r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]"
)
"""What JSON lets through and a terminal or an encoder would act or choke on."""

_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """Return `text` with everything that could steer a terminal made visible.

    Control and format characters (escapes, line breaks, bidirectional overrides) and lone
    surrogates, as file names that are not UTF-8 hold, become backslash escapes.
    """
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in _UNSAFE else char
        for char in text
    )


def printable_json(text: str) -> str:
    """Return JSON that says the same and is safe to print on any terminal.

    Control characters, bidirectional overrides and marks, and lone surrogates become JSON escapes.
    """
    return _UNSAFE_IN_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def storable(text: str) -> str:
    """Return `text` with lone surrogates spelled out, so that UTF-8 can hold it.

    They come from file names that are not UTF-8 and from careless JSON.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def searchable(text: str) -> str:
    """Return `text` in the form in which texts are compared, whatever the case."""
    return unicodedata.normalize("NFC", text).casefold()
