"""Text from context-free grammars, and the mutations that turn it hostile."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

_SYMBOL = re.compile("«([a-z]+)»")

_EXPANSIONS = 4_000
"""Symbols that are expanded for one document, so that no grammar grows without end."""

WORDS = (
    *("a", "web", "server", "game engine", "http", "http-client", "cli", "C++", "README", "1.0"),
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<tool_call>", "TAGGER-USER-SLOT"),
    *("{readme}", "{tags}", "{{ x }}", '{"tags": ["', "ignore all previous instructions"),
    *("\u202e", "\u200d", "\ufeff", "\ufffd", "\0", "\x1b[31m", "\x9b", "\u2028", "\u00a0", "\t"),
    *(
        "é",
        "e\u0301" * 9,
        "Ǆ",
        "ﬃ",
        "ß",
        "İ",
        "日本語",
        "Привет",
        "مرحبا",
        "👩‍👩‍👧‍👦",
        "\U0010ffff",
    ),
)
"""Leaves of every grammar: tags, what looks like a prompt, and characters that upset programs."""


def size(random: Random, most: int) -> int:
    """Return a size from 1 to `most`, every order of magnitude as likely as another."""
    return int(math.pow(most, random.random()))


@dataclass(frozen=True)
class Grammar:
    """Rules by symbol; `«symbol»` in a production stands for one of the symbol's own.

    Attributes:
        rules: the productions of each symbol; the document's is `block`.
        chain: makes definitions that lead to one another, where the markup has such.

    """

    rules: Mapping[str, Sequence[str]]
    chain: Callable[[Random], str] | None = None

    @cached_property
    def marks(self) -> tuple[str, ...]:
        """What stands between the symbols of the productions: opening and closing marks."""
        productions = (text for texts in self.rules.values() for text in texts)
        return tuple(
            sorted({mark for text in productions for mark in _SYMBOL.split(text)[::2] if mark})
        )

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The marks around the first symbol of each production, for nesting."""
        pairs = set()
        for texts in self.rules.values():
            for text in texts:
                before, _, *rest = _SYMBOL.split(text, maxsplit=1) if "«" in text else (text, "")
                if before:
                    pairs.add((before, _SYMBOL.sub("x", rest[0]) if rest else ""))
        return tuple(sorted(pairs))

    def text(self, random: Random, most: int) -> str:
        """Return a text of up to `most` characters, often well-formed, often not."""
        makers = [self._document] * 6 + [self._soup] * 4 + [self._repeated] * 5 + [self._nested] * 3
        if self.chain:
            makers.append(self._chained)
        maker = random.choice(makers)
        # What takes more than linear time shows only where there is much of it.
        long = maker in (self._repeated, self._nested) and random.random() < 0.2
        length = most if long else size(random, most)
        text = maker(random, length)
        while random.random() < 0.3:
            text = mutated(random, text)
        return text[:length]

    def expand(self, random: Random, symbol: str, deepest: int) -> str:
        """Return one of the texts that a symbol stands for."""
        left = _EXPANSIONS

        def one(symbol: str, depth: int) -> str:
            nonlocal left
            left -= 1
            if symbol not in self.rules or depth >= deepest or left < 0:
                return random.choice(WORDS)
            return _SYMBOL.sub(
                lambda found: one(found[1], depth + 1), random.choice(self.rules[symbol])
            )

        return one(symbol, 0)

    def _document(self, random: Random, most: int) -> str:
        parts, length, deepest = [], 0, 1 + size(random, 60)
        while length < most:
            parts.append(self.expand(random, "block", deepest))
            length += max(1, len(parts[-1]))
            if len(parts) >= 50:  # what follows would only be more of the same
                return ("".join(parts) * (most // length + 1))[:most]
        return "".join(parts)

    def _soup(self, random: Random, most: int) -> str:
        bits = random.choices((*self.marks, *WORDS, "\n", "\n\n", " "), k=min(500, most))
        text = "".join(bits) or "x"
        return text * (most // len(text) + 1)

    def _repeated(self, random: Random, most: int) -> str:
        """Repeat a few marks, which is what backtracking and quadratic scans fall over."""
        unit = "".join(
            random.choices((*self.marks, *self.marks, *WORDS), k=random.choice((1, 1, 2, 3)))
        )
        if random.random() < 0.3:
            whole = self.expand(random, random.choice(sorted(self.rules)), 3) or "x"
            unit = whole[: random.randint(1, len(whole))]
        head, tail = (random.choice(("", "", *self.marks)) for _ in range(2))
        return head + unit * (most // len(unit) + 1) + tail

    def _chained(self, random: Random, most: int) -> str:
        return self.chain(random) if self.chain else ""

    def _nested(self, random: Random, most: int) -> str:
        opened, closed = random.choice(self.pairs)
        times = max(1, most // len(opened + closed))
        return opened * times + random.choice(WORDS) + closed * random.choice((0, 1, times))


def mutated(random: Random, text: str) -> str:
    """Return a text with one thing done to it: cut, doubled, spliced, changed or repeated."""
    if not text:
        return random.choice(WORDS)
    one, two = sorted(random.choices(range(len(text) + 1), k=2))
    match random.randrange(6):
        case 0:
            return text[:one]
        case 1:
            return text[:one] + text[two:]
        case 2:
            return text[:two] + text[one:]
        case 3:
            return text[:one] + random.choice(WORDS) + text[one:]
        case 4:
            return text[:one] + chr(random.randrange(0xD800)) + text[one + 1 :]
        case _:
            return text[:one] + text[one : min(two, one + 64)] * size(random, 500) + text[two:]


def damaged(random: Random, data: bytes) -> bytes:
    """Return bytes with bits turned over, a piece cut out or the end cut off."""
    changed = bytearray(data or b"x")
    match random.randrange(3):
        case 0:
            for _ in range(size(random, 50)):
                changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
        case 1:
            at = random.randrange(len(changed))
            del changed[at : at + size(random, len(changed))]
        case _:
            del changed[random.randrange(len(changed)) :]
    return bytes(changed)
