"""Text to token ids, with control tokens apart from text by construction."""

from typing import Any

from tokenizers import Tokenizer

from tagger.errors import LoadError
from tagger.models import template

_SYSTEM, _USER = "TAGGER-SYSTEM-SLOT", "TAGGER-USER-SLOT"


class ChatTokenizer:
    """A chat model's tokenizer as two: one for text, one for the template's own words.

    The text tokenizer has no added tokens at all, so that no text, whatever it holds, becomes a
    control token: not `<|im_end|>`, and not `<tool_call>` either, which is added but not marked
    special and so escapes the usual switches.

    Args:
        tokenizer: a Transformers tokenizer with a fast backend and a chat template.

    Raises:
        LoadError: it has no fast backend or no usable chat template.

    """

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise LoadError("the model has no fast tokenizer (tokenizer.json)")
        if not tokenizer.chat_template:
            raise LoadError("the model has no chat template: choose a chat (Instruct) model")
        self._control: Tokenizer = backend
        self._text = Tokenizer(backend.model)
        if backend.normalizer:
            self._text.normalizer = backend.normalizer
        if backend.pre_tokenizer:
            self._text.pre_tokenizer = backend.pre_tokenizer
        if backend.decoder:
            self._text.decoder = backend.decoder
        self._template = self._render(tokenizer)

    @staticmethod
    def _render(tokenizer: Any) -> tuple[str, str, str]:
        """Split the rendered chat template at its two slots: before, between and after."""
        messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": _USER}]
        context = {
            **tokenizer.special_tokens_map,
            "messages": messages,
            "tools": None,
            "documents": None,
            "add_generation_prompt": True,
            "enable_thinking": False,
        }
        rendered = template.render(tokenizer.chat_template, context)
        before, system, rest = rendered.partition(_SYSTEM)
        between, user, after = rest.partition(_USER)
        if not (system and user) or _SYSTEM in rest or _USER in after:
            raise LoadError("the model's chat template has no plain system and user turn")
        if not after:
            raise LoadError("the model's chat template does not open the assistant's turn")
        return before, between, after

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, none of them a control token."""
        ids: list[int] = self._text.encode(text, add_special_tokens=False).ids
        return ids

    def encode_with_ends(self, text: str) -> tuple[list[int], list[int]]:
        """Return the ids of `text`, and for each the index in `text` behind its last character."""
        encoding = self._text.encode(text, add_special_tokens=False)
        return encoding.ids, [end for _, end in encoding.offsets]

    def encode_chat(self, system: str, *user: str) -> list[list[int]]:
        """Return the ids of a conversation up to the assistant's turn, in parts.

        Args:
            system: the system turn.
            user: the parts of the user's turn.

        Returns:
            The ids of each part of the user's turn, what comes before with the first and what
            comes behind with the last.

        """
        opening, between, closing = (
            self._control.encode(part, add_special_tokens=False).ids for part in self._template
        )
        parts = [self.encode(part) for part in user]
        parts[0] = [*opening, *self.encode(system), *between, *parts[0]]
        parts[-1] += closing
        return parts

    def text_tokenizer(self) -> str:
        """Return the text tokenizer as JSON."""
        described: str = self._text.to_str()
        return described

    @property
    def turn_end(self) -> int:
        """The control token that ends a turn; its first where it ends in several."""
        opened = self._control.encode(self._template[2], add_special_tokens=False).ids
        control = set(self.control_ids())
        return next((id_ for id_ in opened if id_ in control), opened[0])

    def encode_reply(self, reply: str, answer: str) -> list[int]:
        """Return the ids of the model's turn, of what the user says to it, up to its next turn.

        Args:
            reply: what the model has said.
            answer: what the user says to it.

        """
        _, between, closing = (
            self._control.encode(part, add_special_tokens=False).ids for part in self._template
        )
        return [*self.encode(reply), *between, *self.encode(answer), *closing]

    def control_ids(self) -> list[int]:
        """Return the ids of all added tokens, special or not."""
        return sorted(self._control.get_added_tokens_decoder())

    def starting_with(self, char: str) -> list[int]:
        """Return the ids of all text tokens whose text begins with the ASCII character `char`.

        In byte-level BPE printable ASCII stands for itself.
        """
        vocabulary = self._text.get_vocab(with_added_tokens=False)
        return sorted(id_ for token, id_ in vocabulary.items() if token.startswith(char))

    def decode(self, ids: list[int]) -> str:
        """Return the text of `ids`, control tokens spelled out."""
        text: str = self._control.decode(ids, skip_special_tokens=False)
        return text
