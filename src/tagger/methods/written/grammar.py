"""A reply that is being written, token by token, as its grammar allows.

llguidance computes which tokens may come next, and which must. It has no notion of names that may
come once only, so the grammar is rebuilt, in a millisecond, whenever a name is whole: with the
reply's beginning as it stands and the names that are left.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tagger.errors import VocabularyError
from tagger.methods.written import reply as written
from tagger.models.tokenizer import ChatTokenizer

_LAYOUT: Any = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
"""As Python's json writes; models differ, and one way is enough."""

_END = "\ufdd0 the end of a reply \ufdd0"
"""What no name or id is likely to hold."""


@dataclass(frozen=True)
class Form:
    """What replies may hold.

    Attributes:
        names: the tags' names.
        max_tags: the most of them in a reply.
        min_tags: the least.

    """

    names: tuple[str, ...]
    max_tags: int
    min_tags: int


def tokenizer_of(tokenizer: ChatTokenizer, vocab_size: int) -> LLTokenizer:
    """Return a model's text tokenizer for grammars, with as many tokens as the model has logits.

    Text tokens alone: a name that looks like a control token is spelled in letters.
    """
    text: Any = Tokenizer.from_str(tokenizer.text_tokenizer())
    end = tokenizer.turn_end
    # A reply stops where its grammar does, but llguidance wants some end among the tokens.
    if end >= text.get_vocab_size():
        text.add_special_tokens([_END])
        end = text.token_to_id(_END)
    return LLTokenizer(text.to_str(), n_vocab=vocab_size, eos_token=end)


class Reply:
    """One reply on its way.

    Args:
        id_: what it calls the README.
        form: what it may hold.
        tokenizer: as `tokenizer_of` gives it.
        control: ids that are never written, though some tokenizers list them among the text's.

    Attributes:
        tokens: what is written so far.

    Raises:
        VocabularyError: no grammar can be made of the names.

    """

    def __init__(
        self, id_: str, form: Form, tokenizer: LLTokenizer, control: Sequence[int] = ()
    ) -> None:
        self._id, self._form, self._tokenizer = id_, form, tokenizer
        self._control = list(control)
        self.tokens: list[int] = []
        self._given: list[str] = []
        self._matcher = self._made(())
        self._go_on_as_forced()

    @property
    def text(self) -> str:
        """What is written so far."""
        return self._decoded(self.tokens)

    @property
    def ended(self) -> bool:
        """Whether the reply is whole."""
        return bool(self._matcher.is_stopped())

    def allowed(self) -> NDArray[np.bool_]:
        """Return which [vocab_size] tokens may come next."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        size = self._tokenizer.vocab_size
        allowed = np.unpackbits(bits, count=size, bitorder="little").view(np.bool_)
        allowed[self._control] = False
        return allowed

    def write(self, token: int) -> bool:
        """Write a token that is allowed, and what must follow it.

        Returns:
            False, and nothing is written, if the token ends a name and begins one that the reply
            names already.

        """
        given = written.complete_tags(self._decoded([*self.tokens, token]))
        if given == self._given:
            self._matcher.consume_token(token)
            self.tokens.append(token)
        elif not self._replant(given, [*self.tokens, token]):
            return False
        self._go_on_as_forced()
        return True

    def _go_on_as_forced(self) -> None:
        while not self.ended and (forced := self._matcher.compute_ff_tokens()):
            self._matcher.consume_tokens(forced)
            self.tokens += forced
            given = written.complete_tags(self.text)
            if given != self._given:
                self._replant(given, self.tokens)

    def _replant(self, given: list[str], tokens: list[int]) -> bool:
        """Make the grammar for the names that are left; say whether it allows the tokens."""
        matcher = self._made(given)
        if matcher.try_consume_tokens(tokens) < len(tokens):
            return False
        self._matcher, self._given, self.tokens = matcher, given, list(tokens)
        return True

    def _made(self, given: Sequence[str]) -> LLMatcher:
        form = self._form
        schema = written.schema(self._id, form.names, form.max_tags, form.min_tags, given)
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides=_LAYOUT)
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            reason = " ".join(matcher.get_error().split())
            raise VocabularyError(f"no grammar can be made of these tags: {reason[:200]}")
        return matcher

    def _decoded(self, tokens: list[int]) -> str:
        return self._tokenizer.decode_bytes(tokens).decode("utf-8", "replace")
