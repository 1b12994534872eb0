"""The conversation put to a chat model, as token ids.

A template is a TOML file with a `system` and a `user` text; `{tags}` and `{readme}` in the user's
text say where the vocabulary and the README go. Everything before the README is the prefix, the
same for every README and computed once.
"""

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Self

from tagger.errors import PromptError
from tagger.models.tokenizer import ChatTokenizer
from tagger.vocabulary import Vocabulary

DEFAULT_TEMPLATE = "rank.toml"

_CHARS_PER_TOKEN = 16
"""More than prose in any language needs: a bound on what is tokenised, not an estimate."""

_BOUNDARIES = ("\n\n", "\n", ". ", "。", " ")
"""Where a README may be cut, the best first."""

_KEEP = 0.85
"""A boundary is taken only where it leaves this share of the budget in use."""


@dataclass(frozen=True)
class PromptTemplate:
    """What is said to the model; `user` holds `{tags}` and, behind it, `{readme}`, once each."""

    system: str
    user: str

    def __post_init__(self) -> None:
        for slot in ("{tags}", "{readme}"):
            if self.user.count(slot) != 1:
                raise PromptError(f"the user text must hold {slot} exactly once")
        if self.user.index("{tags}") > self.user.index("{readme}"):
            raise PromptError("{tags} must stand before {readme}: the README comes last")

    @classmethod
    def load(cls, path: Path | None = None) -> Self:
        """Read a template from a TOML file; by default the one that ships with the package.

        Raises:
            PromptError: unreadable, not TOML, or without its two texts and slots.

        """
        try:
            text = (path or _shipped(DEFAULT_TEMPLATE)).read_text(encoding="utf-8")
            data = tomllib.loads(text)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise PromptError(f"{path}: cannot read the prompt template: {reason}") from error
        unknown = sorted(data.keys() - {"system", "user"})
        if unknown or not all(isinstance(data.get(key), str) for key in ("system", "user")):
            raise PromptError(f"{path}: a prompt template holds two texts, `system` and `user`")
        try:
            return cls(system=data["system"].strip(), user=data["user"].strip())
        except PromptError as error:
            raise PromptError(f"{path}: {error}") from error


def _shipped(name: str) -> Path:
    """Return a template of the package: inside it once installed, beside it in a checkout."""
    packaged = Path(str(files("tagger"))) / "prompts"
    folder = packaged if packaged.is_dir() else Path(__file__).parents[2] / "prompts"
    return folder / name


class Prompt:
    """One template and one vocabulary in one model's tokens.

    Attributes:
        prefix: ids of everything before the README.
        suffix: ids of everything behind it, up to the assistant's turn.

    """

    def __init__(
        self, template: PromptTemplate, vocabulary: Vocabulary, tokenizer: ChatTokenizer
    ) -> None:
        # One line a tag, whatever a name holds: a line break would look like a list's end.
        names = ", ".join(re.sub(r"\s+", " ", tag.label) for tag in vocabulary)
        before, _, after = template.user.partition("{readme}")
        head, tail = tokenizer.encode_chat(template.system, before.replace("{tags}", names), after)
        self.prefix = tuple(head)
        self.suffix = tuple(tail)
        self._tokenizer = tokenizer

    def fit(self, text: str, budget: int) -> list[int]:
        """Return the ids of as much of `text` as `budget` tokens hold.

        A longer text ends at a paragraph, else a line, a sentence or a word, when one of these
        ends within the last part of the budget.
        """
        text = text[: budget * _CHARS_PER_TOKEN]
        ids, ends = self._tokenizer.encode_with_ends(text)
        if len(ids) <= budget:
            return ids
        limit = ends[budget - 1]
        for boundary in _BOUNDARIES:
            cut = text.rfind(boundary, 0, limit)
            if cut >= _KEEP * limit:
                return self._tokenizer.encode(text[:cut].rstrip())[:budget]
        return ids[:budget]
