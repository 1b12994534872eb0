"""The conversation put to a chat model, as token ids.

A template is a TOML file with a `system` and a `user` text; `{tags}` and `{readme}` in the user's
text say where the vocabulary and the README go. Behind the README come one or more questions: each
is put as if it were the only one, and says how the model's turn begins.

A model prefers what stands first or last in a list, so the list of tags is written in two orders.
They stand beside one another: each is read as if it were the only one (Ratner et al. 2023,
"Parallel Context Windows").
"""

import re
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from tagger._util.hashing import digest
from tagger._util.reading import parse_toml, read_bounded
from tagger._util.text import printable
from tagger._util.validation import first_fault
from tagger.errors import PromptError
from tagger.models.tokenizer import ChatTokenizer
from tagger.vocabulary import Tag, Vocabulary

MAX_BYTES = 1024 * 1024
"""Larger templates are refused unread: no prompt that fits a model comes near."""

DEFAULT_TEMPLATE = "rank"
WRITTEN_TEMPLATE = "generate"

_CHARS_PER_TOKEN = 16
"""More than prose in any language needs: a bound on what is tokenised, not an estimate."""

_BOUNDARIES = ("\n\n", "\n", ". ", "。", " ")
"""Where a README may be cut, the best first."""

_KEEP = 0.85
"""A boundary is taken only where it leaves this share of the budget in use."""


_STRICT = ConfigDict(extra="forbid", str_strip_whitespace=True)


@dataclass(frozen=True, config=_STRICT)
class Question:
    """What is asked of a README.

    Attributes:
        ask: the last paragraph of the user's turn; none if it is empty.
        opening: how the model's turn begins, up to the quote before a tag's name.

    """

    ask: str = ""
    opening: str = '{"tags": ["'

    def __post_init__(self) -> None:
        if not self.opening.endswith('"'):
            raise PromptError(
                f"an opening must end with the quote that comes before a tag: {self.opening!r}"
            )


@dataclass(frozen=True)
class Conversation:
    """What is said to the model, up to where it goes on.

    Attributes:
        text: all of it, safe to print on any terminal; what only looks like a control token is
            written with a backslash.
        tokens: how many there are before the README, of it and after it; empty where that is not
            known.

    """

    text: str
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class PromptTemplate:
    """What is said to the model; `user` holds `{tags}` and, behind it, `{readme}`, once each."""

    system: str
    user: str
    questions: tuple[Question, ...] = (Question(),)

    def __post_init__(self) -> None:
        if not self.questions:
            raise PromptError("there must be at least one question")
        for slot in ("{tags}", "{readme}"):
            if self.user.count(slot) != 1:
                raise PromptError(f"the user text must contain {slot} exactly once")
        if self.user.index("{tags}") > self.user.index("{readme}"):
            raise PromptError("{tags} must come before {readme}: the README comes last")

    @classmethod
    def load(cls, path: Path | None = None, default: str = DEFAULT_TEMPLATE) -> Self:
        """Read a template from a TOML file; by default one that ships with the package.

        The name of one that ships, such as `documents`, always names that one: a file of that name
        in the current folder may be a stranger's.

        Raises:
            PromptError: unreadable, larger than `MAX_BYTES`, not TOML, or without its two texts and
                slots.

        """
        try:
            data = parse_toml(read_bounded(_meant(path) if path else _shipped(default), MAX_BYTES))
        except FileNotFoundError as error:
            raise PromptError(
                f"{path}: no such prompt template: name a TOML file, or one that ships: "
                f"{', '.join(sorted(each.stem for each in _shipped('x').parent.glob('*.toml')))}"
            ) from error
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise PromptError(f"{path}: cannot read the prompt template: {reason}") from error
        try:
            return TypeAdapter(cls).validate_python(data)
        except ValidationError as error:
            raise PromptError(
                f"{path}: {first_fault(error)}; a prompt template has two texts, `system` and "
                "`user`, and optionally `[[questions]]` with `ask` and `opening`"
            ) from error
        except PromptError as error:
            raise PromptError(f"{path}: {error}") from error

    @property
    def digest(self) -> str:
        """A digest of all that it says."""
        return digest(asdict(self))


def _meant(path: Path) -> Path:
    """Return the template that ships under this name, or else the user's file."""
    known = len(path.parts) == 1 and _shipped(path.name).is_file()
    return _shipped(path.name) if known else path


def _shipped(name: str) -> Path:
    """Return a template that ships with the package."""
    return Path(str(files(__package__))) / "templates" / f"{name}.toml"


def _orders(vocabulary: Vocabulary) -> list[list[Tag]]:
    """Return the tags as given and from the last to the first."""
    return [list(vocabulary), list(reversed(vocabulary.tags))]


def tag_list(tags: Sequence[Tag]) -> str:
    """Return tags as the model reads them: names in a row, or a line each with more."""
    # Whatever a name holds, no line break: it would look like the list's end.
    if not any(tag.description or tag.aliases for tag in tags):
        return ", ".join(_one_line(tag.label) for tag in tags)
    lines = []
    for tag in tags:
        aliases = f" ({', '.join(map(_one_line, tag.aliases))})" if tag.aliases else ""
        description = f": {_one_line(tag.description)}" if tag.description else ""
        lines.append(f"\n- {_one_line(tag.label)}{aliases}{description}")
    return "".join(lines)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


class Prompt:
    """One template and one vocabulary in one model's tokens.

    Attributes:
        head: ids of everything before the list of tags.
        lists: ids of the list, in each of its orders.
        bridge: ids of everything between the list and the README.
        endings: for each question, ids of everything between the README and the model's turn.
        openings: for each question, how the model's turn begins.
        tokenizer: whose tokens these are.

    """

    def __init__(
        self, template: PromptTemplate, vocabulary: Vocabulary, tokenizer: ChatTokenizer
    ) -> None:
        before, _, after = template.user.partition("{readme}")
        head, _, bridge = before.partition("{tags}")
        # A blank belongs to the word behind it, as the tokenizer sees it.
        blank = head[len(head.rstrip(" ")) :]
        self.openings = tuple(question.opening for question in template.questions)
        endings = [
            after + ("\n\n" + question.ask) * bool(question.ask) for question in template.questions
        ]
        chats = [
            tokenizer.encode_chat(template.system, head.rstrip(" "), bridge, ending)
            for ending in endings
        ]
        self.head = tuple(chats[0][0])
        self.bridge = tuple(chats[0][1])
        self.endings = tuple(tuple(ending) for _, _, ending in chats)
        self.lists = tuple(
            tuple(tokenizer.encode(blank + tag_list(tags))) for tags in _orders(vocabulary)
        )
        self._after = after
        self.tokenizer = tokenizer

    def ending(self, ask: str) -> list[int]:
        """Return the ids of everything between the README and the model's turn, for a question."""
        return self.tokenizer.encode_chat("", "", f"{self._after}\n\n{ask}")[-1]

    def conversation(
        self, before: Sequence[int], readme: Sequence[int], after: Sequence[int]
    ) -> Conversation:
        """Return the conversation that consists of these ids."""
        control = set(self.tokenizer.control_ids())
        parts = []
        for is_control, ids in groupby((*before, *readme, *after), control.__contains__):
            text = self.tokenizer.decode(list(ids))
            if not is_control:
                # Letters that make up a control token's name are none.
                text = re.sub(r"<\|(?=\w+\|>)", r"<\\|", text)
                text = "\n".join(map(printable, text.split("\n")))
            parts.append(text)
        return Conversation("".join(parts), (len(before), len(readme), len(after)))

    def fit(self, text: str, budget: int) -> list[int]:
        """Return the ids of as much of `text` as `budget` tokens hold.

        A longer text ends at a paragraph, else a line, a sentence or a word, when one of these
        ends within the last part of the budget.
        """
        return self.fit_with_ends(text, budget)[0]

    def fit_with_ends(self, text: str, budget: int) -> tuple[list[int], list[int]]:
        """Return what `fit` does, and for each id the index in `text` behind its last character."""
        text = text[: budget * _CHARS_PER_TOKEN]
        ids, ends = self.tokenizer.encode_with_ends(text)
        if len(ids) > budget:
            limit = ends[budget - 1]
            for boundary in _BOUNDARIES:
                cut = text.rfind(boundary, 0, limit)
                if cut >= _KEEP * limit:
                    ids, ends = self.tokenizer.encode_with_ends(text[:cut].rstrip())
                    break
        return ids[:budget], ends[:budget]
