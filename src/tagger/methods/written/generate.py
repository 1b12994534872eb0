"""`generate`: the model writes the reply itself, by greedy decoding.

Under a grammar it can write nothing but a valid reply, and tokens that the grammar forces go
through the model together with the token before them rather than one by one. Without a grammar the
reply is parsed leniently and checked strictly, and if it is rejected the model is told why and
tries once more. READMEs are decoded together; each leaves the batch when its reply is complete.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from llguidance import LLTokenizer
from torch import Tensor

from tagger.errors import LoadError, ReplyError, TaggerError, VocabularyError
from tagger.methods.base import (
    Capacity,
    FeatureIdentity,
    Identity,
)
from tagger.methods.written import reply as written
from tagger.methods.written.grammar import Form, Reply, tokenizer_of
from tagger.methods.written.method import Written
from tagger.methods.written.reply import RepeatedTagError
from tagger.models.kv import KVCache, concat
from tagger.models.language import LanguageModel
from tagger.prompts.prompt import WRITTEN_TEMPLATE, Conversation, Prompt, PromptTemplate
from tagger.readme.cleaning import CLEANING_VERSION
from tagger.readme.readme import Readme
from tagger.selection import Selection
from tagger.types import README_TOKENS
from tagger.vocabulary import Tag, Vocabulary

WRITING_VERSION = 2
"""Bump when the same input would get a different reply."""

MIN_README_TOKENS = 64
"""A vocabulary that leaves fewer tokens than this for the README is refused."""

_FREE_TOKENS = 256
"""Tokens of the longest reply without a grammar; ten tags as objects take two thirds of them."""

_RETRY = "Reply with the JSON alone."


@dataclass(frozen=True)
class Encoded:
    """A README as `Generate` is asked about it.

    Attributes:
        id: its id in the reply.
        tokens: ids of the part that the model reads.

    """

    id: str
    tokens: list[int]

    @property
    def length(self) -> int:
        """The number of tokens to be read."""
        return len(self.tokens)


@dataclass
class _Row:
    """A reply that is being decoded.

    Attributes:
        readme: its README.
        reply: the reply under a grammar.
        free: the tokens of a reply without one.

    """

    readme: Encoded
    reply: Reply | None
    free: list[int] = field(default_factory=list)


class Generate(Written):
    """Has the model write the replies for READMEs; a `Method`.

    Args:
        model: the language model.
        vocabulary: the tags.
        template: the prompt; by default the package's own for written replies.
        selection: how many tags a reply holds; without a grammar the least cannot be enforced.
        readme_tokens: the most tokens that are read of a README.
        grammar: whether replies are constrained by a grammar.

    Attributes:
        readme_tokens: the most tokens that are read of a README.

    Raises:
        VocabularyError: the vocabulary leaves no room for a README in the model's context.

    """

    def __init__(
        self,
        model: LanguageModel,
        vocabulary: Vocabulary,
        template: PromptTemplate | None = None,
        selection: Selection | None = None,
        readme_tokens: int = README_TOKENS,
        *,
        grammar: bool = True,
    ) -> None:
        self._model = model
        self.vocabulary = vocabulary
        selection = selection or Selection()
        max_tags = selection.max_tags
        self._form = Form(written.names(vocabulary), max_tags, selection.min_tags)
        self._grammar = grammar
        template = template or PromptTemplate.load(default=WRITTEN_TEMPLATE)
        self._template = template
        self._prompt = Prompt(template, vocabulary, model.tokenizer)
        self._ask = template.questions[0].ask
        fixed = len(self._prompt.head) + len(self._prompt.lists[0]) + len(self._prompt.bridge)
        reply = max(len(model.tokenizer.encode(name)) + 4 for name in self._form.names) * max_tags
        self._overhead = fixed + len(self._prompt.endings[0]) + max(reply, _FREE_TOKENS)
        room = model.context_length - self._overhead
        if room < MIN_README_TOKENS:
            raise VocabularyError(
                f"the vocabulary's {len(vocabulary)} tags and the prompt take "
                f"{self._overhead:,} tokens, but the model's context window holds "
                f"{model.context_length:,}, which leaves no room for a README: "
                "use fewer tags, or shorter descriptions"
            )
        self.readme_tokens = min(readme_tokens, room)

    @property
    def name(self) -> str:
        """What people call the model."""
        return self._model.name

    @property
    def identity(self) -> Identity:
        """What a reply depends on; see `Method`."""
        grammar = "a grammar" if self._grammar else "no grammar"
        return Identity(
            FeatureIdentity(
                self._model.weights, self._template.digest, CLEANING_VERSION, self.readme_tokens
            ),
            method=f"generate {WRITING_VERSION}, {self._form.min_tags} to {self._form.max_tags} "
            f"tags, {grammar}",
            machine=self._model.machine,
            vocabulary=self.vocabulary.wording,
        )

    @property
    def capacity(self) -> Capacity:
        """How many tokens a pass may hold; on a CPU, one README."""
        return Capacity(self._model.batch_tokens(), overhead=self._overhead)

    def conversations(self, readme: Readme) -> list[Conversation]:
        """Return the conversation about a README."""
        prompt, encoded = self._prompt, self.encode(readme)
        before = (*prompt.head, *prompt.lists[0], *prompt.bridge)
        return [prompt.conversation(before, encoded.tokens, self._ending(encoded))]

    def stop(self) -> None:
        """Do nothing: a reply takes seconds."""

    def prepare(self, *, reading: bool = True) -> None:
        """Prefill the list of tags and prepare the grammar."""
        if reading:
            _ = self._prefix, self._tokenizer

    def encode(self, readme: Readme) -> Encoded:
        """Encode a README, cut to the token budget."""
        tokens = self._prompt.fit(readme.plain_text, self.readme_tokens)
        return Encoded(written.reply_id(readme.id), tokens or self._model.tokenizer.encode(" "))

    @torch.inference_mode()
    def read(self, readmes: Sequence[Encoded]) -> list[bytes | TaggerError]:
        """Have the replies written; return the tags of each, or why it cannot be used.

        Raises:
            OutOfMemoryError: the pass needs more memory than there is.
            LoadError: the model's probabilities are not numbers.

        """
        rows = [_Row(readme, self._reply(readme)) for readme in readmes]
        tail = self._model.prefill([readme.tokens for readme in readmes], self._prefix)
        cache = concat(self._prefix, tail)
        endings = [
            self._ending(row.readme) + (row.reply.tokens if row.reply else []) for row in rows
        ]
        self._write(rows, cache, endings)
        results = [self._parse(row) for row in rows]
        failures = [index for index, tags in enumerate(results) if isinstance(tags, ReplyError)]
        if failures and not self._grammar:
            retries = [_Row(readmes[index], None) for index in failures]
            endings = [
                self._ending(readmes[index])
                + self._model.tokenizer.encode_reply(
                    self._text(rows[index]), f"This cannot be used: {results[index]}. {_RETRY}"
                )
                for index in failures
            ]
            self._write(retries, cache.select(failures), endings)
            for index, row in zip(failures, retries, strict=True):
                results[index] = self._parse(row)
        return [written.reading_of(tags, self.vocabulary) for tags in results]

    def _write(self, rows: Sequence[_Row], cache: KVCache, endings: Sequence[list[int]]) -> None:
        """Decode each row after its KV cache and its ending, until its reply is complete."""
        tokens = list(endings)
        while rows:
            hidden, tail = self._model.decode(tokens, cache)
            cache = concat(cache, tail)
            tokens = [self._choose(row, state) for row, state in zip(rows, hidden, strict=True)]
            active = [index for index, row in enumerate(rows) if not self._ended(row)]
            if len(active) < len(rows):
                cache = cache.select(active)
            rows, tokens = [rows[index] for index in active], [tokens[index] for index in active]

    def _choose(self, row: _Row, state: Tensor) -> list[int]:
        """Write a row's likeliest token and those that the grammar forces after it; return them."""
        if row.reply is None:
            logits = self._logits(state, torch.empty(0, dtype=torch.long))
            row.free.append(int(logits.argmax()))
            return row.free[-1:]
        if row.reply.ended:
            return []
        mask = torch.from_numpy(row.reply.allowed())
        token_ids = mask.nonzero().squeeze(-1)
        logits = self._logits(state, token_ids)
        order = logits[token_ids.to(logits.device)].argsort(descending=True, stable=True)
        start = len(row.reply.tokens)
        for index in order.tolist():
            if row.reply.write(int(token_ids[index])):
                break
        return row.reply.tokens[start:]

    def _logits(self, state: Tensor, token_ids: Tensor) -> Tensor:
        logits = self._model.logits(state[None], token_ids)[0]
        if not logits.isfinite().all():
            raise LoadError(
                f"{self._model.name}: its probabilities are not finite: try --dtype float32; if "
                "that fails, the weights are damaged: fetch them again"
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

    def _parse(self, row: _Row) -> list[Tag] | ReplyError:
        """Return the tags of a reply, or why it cannot be used."""
        try:
            if len(row.free) >= _FREE_TOKENS:
                raise written.unusable(f"was cut off at {_FREE_TOKENS} tokens", self._text(row))
            return written.read(
                self._text(row), row.readme.id, self.vocabulary, self._form.max_tags
            )
        except RepeatedTagError as error:
            return ReplyError(str(error))
        except ReplyError as error:
            return error

    def _reply(self, readme: Encoded) -> Reply | None:
        if not self._grammar:
            return None
        return Reply(readme.id, self._form, self._tokenizer, sorted(self._control))

    def _ending(self, readme: Encoded) -> list[int]:
        """Return the ids between the README and the assistant's turn."""
        ask = self._ask.replace("{max_tags}", str(self._form.max_tags))
        ask = ask.replace("{id}", json.dumps(readme.id, ensure_ascii=False))
        return self._prompt.ending(ask)

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        return tokenizer_of(self._model.tokenizer, self._model.vocab_size)

    @cached_property
    def _control(self) -> frozenset[int]:
        return frozenset(self._model.tokenizer.control_ids())

    @cached_property
    def _prefix(self) -> KVCache:
        """The KV cache that every README attends to."""
        prompt = self._prompt
        return self._model.prefill([[*prompt.head, *prompt.lists[0], *prompt.bridge]])
