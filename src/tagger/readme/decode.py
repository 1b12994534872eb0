"""Bytes to text, whatever encoding they are in."""

import codecs
import re

from tagger.errors import ReadmeError

_MARKED = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks, the longer ones first: that of UTF-16 begins that of UTF-32."""

_GUESSED = [
    *("utf_16_le", "utf_16_be", "gb18030", "big5", "cp932", "euc_jp", "cp949"),
    *("cp1252", "cp1251", "koi8_r"),
]
"""What READMEs are written in, where not in UTF-8: of two encodings that differ in a handful of
letters one is enough."""

_TWO_SCRIPTS = re.compile(r"[A-Za-z][\u0400-\u04ff]|[\u0400-\u04ff][A-Za-z]")

_WRONG = "\N{REPLACEMENT CHARACTER}"


def decode(data: bytes, source: str, *, whole: bool) -> tuple[str, str]:
    """Return bytes as text, and the name of the encoding they were in.

    UTF-8 and what a byte order mark names are certain; the rest is a guess.

    Args:
        data: the bytes.
        source: where they come from, for messages.
        whole: whether they are all there are, so that none of a last character is missing.

    Raises:
        ReadmeError: no text in any encoding.

    """
    for mark, encoding in _MARKED.items():
        if data.startswith(mark):
            return data.decode(encoding, "ignore"), encoding
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data, whole)
        if "\0" not in text:
            return text, "utf-8"
    except UnicodeDecodeError:
        if repaired := _repaired(data, whole=whole):
            return repaired, "utf-8, but for a few bytes"
    # Here, not above: hardly any README needs it.
    from charset_normalizer import from_bytes

    if not whole:
        data = data[: (data.rfind(b"\n") + 1 or len(data)) & ~1]
    best = from_bytes(data, cp_isolation=_GUESSED).best()
    if best is None or "\0" in str(best):
        if b"\0" in data:
            raise ReadmeError(f"{source}: is a binary file, not a README; name the README itself")
        raise ReadmeError(
            f"{source}: is in no encoding that tagger can detect; convert it, for example with "
            "iconv"
        )
    text, encoding = str(best), best.encoding
    # Letters of two scripts in one word: in a short text, accents are taken for Cyrillic.
    if encoding in ("cp1251", "koi8_r") and _TWO_SCRIPTS.search(text):
        return data.decode("cp1252", "replace"), "cp1252"
    return text, encoding


def _repaired(data: bytes, *, whole: bool) -> str:
    """Return UTF-8 in which a few bytes are wrong, each as a replacement character, or nothing.

    In other encodings hardly any bytes happen to be a character of several bytes in UTF-8.
    """
    text = codecs.getincrementaldecoder("utf-8-sig")("replace").decode(data, whole)
    wrong = text.count(_WRONG)
    sound = sum(char > "\x7f" for char in text) - wrong
    return text if "\0" not in text and sound >= 2 * wrong else ""
