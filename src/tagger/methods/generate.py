"""`generate`: the model writes the reply itself, greedily.

Under a grammar it can write nothing but a valid reply, and what the grammar leaves no choice in is
read in one pass with what was chosen rather than written token by token. Without one it writes as
it likes, is read leniently and checked strictly, and may try once more when it is told what was
wrong. READMEs go through the model together; each leaves when its reply is whole.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from llguidance import LLTokenizer
from torch import Tensor

from tagger.digest import digest
from tagger.errors import LoadError, ReplyError, VocabularyError
from tagger.methods import written
from tagger.methods.grammar import Form, Reply, tokenizer_of
from tagger.methods.written import RepeatedTagError
from tagger.models.language import LanguageModel, Memory, join
from tagger.prompt import Prompt, PromptTemplate
from tagger.readme import Readme
from tagger.vocabulary import Tag, Vocabulary

WRITING_VERSION = 2
"""Raised whenever the same input would be answered otherwise."""

MIN_README_TOKENS = 64
"""A vocabulary that leaves less than this for the README is refused."""

_FREE_TOKENS = 256
"""The longest reply without a grammar; ten tags as objects take two thirds of it."""

_AGAIN = "Reply with the JSON alone."


@dataclass(frozen=True)
class Asked:
    """A README as it is asked about.

    Attributes:
        id: what the reply calls it.
        tokens: ids of what the model reads of it.

    """

    id: str
    tokens: list[int]

    @property
    def length(self) -> int:
        """How much there is to read."""
        return len(self.tokens)


@dataclass
class _Row:
    """A reply on its way.

    Attributes:
        asked: its README.
        reply: the reply under a grammar.
        free: the tokens of a reply without one.

    """

    asked: Asked
    reply: Reply | None
    free: list[int] = field(default_factory=list)


class Generate:
    """Has replies written for one README after another, or for many together.

    Args:
        model: the language model.
        vocabulary: the tags.
        template: what is said to the model.
        readme_tokens: the most that is read of a README.
        max_tags: the most tags of a reply.
        min_tags: the least; without a grammar, none can be forced.
        grammar: whether the reply is held to one.

    Raises:
        VocabularyError: the vocabulary leaves no room for a README in the model's context.

    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        template: PromptTemplate,
        readme_tokens: int,
        *,
        max_tags: int,
        min_tags: int,
        grammar: bool = True,
    ) -> None:
        self._model = model
        self._vocabulary = vocabulary
        self._form = Form(written.names(vocabulary), max_tags, min_tags)
        self._grammar = grammar
        self._prompt = Prompt(template, vocabulary, model.tokenizer)
        self._ask = template.questions[0].ask
        fixed = len(self._prompt.head) + len(self._prompt.lists[0]) + len(self._prompt.bridge)
        reply = max(len(model.tokenizer.encode(name)) + 4 for name in self._form.names) * max_tags
        self.extra_tokens = fixed + len(self._prompt.endings[0]) + max(reply, _FREE_TOKENS)
        room = model.context_length - self.extra_tokens
        if room < MIN_README_TOKENS:
            raise VocabularyError(
                f"the vocabulary's {len(vocabulary)} tags and the prompt take "
                f"{self.extra_tokens:,} of the model's {model.context_length:,} tokens, which "
                "leaves no room for a README: use fewer tags, or shorter descriptions"
            )
        self.readme_tokens = min(readme_tokens, room)

    @property
    def settings(self) -> dict[str, str | int]:
        """Everything that a reply depends on beside the README, by a name for people."""
        said = [self._prompt.head, self._prompt.lists[0], self._prompt.bridge, self._ask]
        return {
            "model": self._model.weights,
            "machine, number format or library version": self._model.machine,
            "prompt and tags": digest([said, self._form.names]),
            "number of tags": f"{self._form.min_tags} to {self._form.max_tags}",
            "readme tokens": self.readme_tokens,
            "grammar": "on" if self._grammar else "off",
            "way of writing": WRITING_VERSION,
        }

    def prepare(self) -> None:
        """Compute whatever READMEs share; raises as `write`."""
        _ = self._before, self._tokenizer

    def encode(self, readme: Readme) -> Asked:
        """Return what is asked about a README: as many of its tokens as the budget holds."""
        tokens = self._prompt.fit(readme.words, self.readme_tokens)
        return Asked(written.called(readme.id), tokens or self._model.tokenizer.encode(" "))

    @torch.inference_mode()
    def write(self, readmes: Sequence[Asked]) -> list[list[Tag] | ReplyError]:
        """Return the tags of each README's reply, or why it cannot be used.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        rows = [_Row(asked, self._reply(asked)) for asked in readmes]
        read = self._model.read([asked.tokens for asked in readmes], self._before)
        memory = join(self._before, read)
        endings = [
            self._ending(row.asked) + (row.reply.tokens if row.reply else []) for row in rows
        ]
        self._write(rows, memory, endings)
        found = [self._read(row) for row in rows]
        failed = [at for at, tags in enumerate(found) if isinstance(tags, ReplyError)]
        if failed and not self._grammar:
            again = [_Row(readmes[at], None) for at in failed]
            endings = [
                self._ending(readmes[at])
                + self._model.tokenizer.encode_reply(
                    self._text(rows[at]), f"This cannot be used: {found[at]}. {_AGAIN}"
                )
                for at in failed
            ]
            self._write(again, memory.select(failed), endings)
            for at, row in zip(failed, again, strict=True):
                found[at] = self._read(row)
        return found

    def _write(self, rows: Sequence[_Row], memory: Memory, endings: Sequence[list[int]]) -> None:
        """Go on from the memory of each row, and its ending, until its reply is whole."""
        tokens = list(endings)
        while rows:
            hidden, more = self._model.go_on(tokens, memory)
            memory = join(memory, more)
            tokens = [self._choose(row, state) for row, state in zip(rows, hidden, strict=True)]
            going = [at for at, row in enumerate(rows) if not self._ended(row)]
            if len(going) < len(rows):
                memory = memory.select(going)
            rows, tokens = [rows[at] for at in going], [tokens[at] for at in going]

    def _choose(self, row: _Row, state: Tensor) -> list[int]:
        """Write the likeliest token of a row, and what must follow it; return them."""
        if row.reply is None:
            logits = self._logits(state, torch.empty(0, dtype=torch.long))
            row.free.append(int(logits.argmax()))
            return row.free[-1:]
        if row.reply.ended:
            return []
        allowed = torch.from_numpy(row.reply.allowed())
        words = allowed.nonzero().squeeze(-1)
        logits = self._logits(state, words)
        known, before = logits[words.to(logits.device)], len(row.reply.tokens)
        for choice in known.argsort(descending=True, stable=True).tolist():
            if row.reply.write(int(words[choice])):
                break
        return row.reply.tokens[before:]

    def _logits(self, state: Tensor, words: Tensor) -> Tensor:
        logits = self._model.logits(state[None], words)[0]
        if not logits.isfinite().all():
            raise LoadError(
                f"{self._model.name}: gives probabilities that are not numbers: the weights are "
                "damaged, or --dtype float32 is needed"
            )
        return logits

    def _ended(self, row: _Row) -> bool:
        if row.reply:
            return row.reply.ended
        return row.free[-1] in self._control or len(row.free) >= _FREE_TOKENS

    def _text(self, row: _Row) -> str:
        if row.reply:
            return row.reply.text
        return self._model.tokenizer.decode([id_ for id_ in row.free if id_ not in self._control])

    def _read(self, row: _Row) -> list[Tag] | ReplyError:
        """Return the tags of a reply, checked, or why there are none."""
        try:
            if len(row.free) >= _FREE_TOKENS:
                raise written.refused(f"was cut off at {_FREE_TOKENS} tokens", self._text(row))
            return written.read(
                self._text(row), row.asked.id, self._vocabulary, self._form.max_tags
            )
        except RepeatedTagError as error:
            return ReplyError(str(error))
        except ReplyError as error:
            return error

    def _reply(self, asked: Asked) -> Reply | None:
        if not self._grammar:
            return None
        return Reply(asked.id, self._form, self._tokenizer, sorted(self._control))

    def _ending(self, asked: Asked) -> list[int]:
        """Return the ids between the README and the model's turn."""
        ask = self._ask.replace("{max_tags}", str(self._form.max_tags))
        ask = ask.replace("{id}", json.dumps(asked.id, ensure_ascii=False))
        return self._prompt.ending(ask)

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        return tokenizer_of(self._model.tokenizer, self._model.words)

    @cached_property
    def _control(self) -> frozenset[int]:
        return frozenset(self._model.tokenizer.control_ids())

    @cached_property
    def _before(self) -> Memory:
        """What every README is read behind."""
        prompt = self._prompt
        return self._model.read([[*prompt.head, *prompt.lists[0], *prompt.bridge]])
