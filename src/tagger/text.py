"""Text on its way to a terminal or a file."""

import unicodedata

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


def storable(text: str) -> str:
    """Return `text` with lone surrogates spelled out, so that UTF-8 can hold it.

    They come from file names that are not UTF-8 and from careless JSON.
    """
    return text.encode("utf-8", "backslashreplace").decode()
