"""What a model's folder says of chats: its tokenizer, its chat template, and how turns end.

Only data is taken: the vocabulary of `tokenizer.json`, the text of a template, the names of
tokens. No class is chosen by a file, and text is split by rules that are known here.
"""

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from transformers import PreTrainedTokenizerFast

from tagger.errors import LoadError
from tagger.models.checkpoint import FIRST_GENERATION, read_json, read_text

VOCABULARY = "tokenizer.json"

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen's tokenizers split text into words."""

_PATTERN_MARKS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How those of Qwen3.5 do, in which combining marks belong to words."""

_LINEAR = {"Sequence", "ByteLevel", "Digits", "NFC", "NFD", "NFKC", "NFKD"}
"""Steps whose time and output grow with the text alone. A pattern of the folder's own could take
for ever."""

_TURN_END = "<|im_end|>"
"""What ends a turn in ChatML, which all Qwen chat models speak."""

_GENERATION = "generation_config.json"

_MOST_VOCABULARY = 64 * 2**20
_MOST_TEMPLATE = 2**20


def _content(value: object) -> object:
    """Return the text of a token that is described by an object."""
    return value.get("content") if isinstance(value, Mapping) else value


Model = TypeVar("Model", bound=BaseModel)
Token = Annotated[str | None, BeforeValidator(_content)]


class _Named(BaseModel):
    name: str
    template: str


class _Settings(BaseModel):
    """The keys of a `tokenizer_config.json` that are read."""

    model_config = ConfigDict(strict=True, extra="ignore")

    chat_template: str | list[_Named] | None = None
    bos_token: Token = None
    eos_token: Token = None
    pad_token: Token = None
    unk_token: Token = None


class _Ends(BaseModel):
    """The keys that say how a model's turn ends."""

    model_config = ConfigDict(strict=True, extra="ignore")

    eos_token_id: int | list[int] | None = None
    chat_format: str | None = None


def load_tokenizer(folder: Path, config: Mapping[str, Any]) -> PreTrainedTokenizerFast:
    """Return the tokenizer in a model's folder, with its chat template if there is one.

    Args:
        folder: the model.
        config: its configuration, as `checkpoint.read_config` returns it.

    Raises:
        LoadError: it is missing, damaged, or of a kind that is not supported.

    """
    if config["model_type"] == FIRST_GENERATION:
        # Here, not above: it prepares tables that other models have no use for.
        from tagger.models import qwen1 as first_generation

        return first_generation.load_tokenizer(folder)
    path = folder / VOCABULARY
    if not path.is_file():
        raise LoadError(f"{folder}: has no {VOCABULARY}: fetch that file too")
    _check_rules(path)
    settings = _read(_Settings, folder / "tokenizer_config.json")
    names = settings.model_dump(exclude={"chat_template"}, exclude_none=True)
    template = _template(folder, settings)
    try:
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_file=str(path), chat_template=template, **names
        )
    except Exception as error:  # what Rust makes of a damaged file
        raise _unusable(path, error) from error
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    backend.model.dropout = None
    return tokenizer


def is_trained_on_chats(
    folder: Path, config: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast
) -> bool:
    """Say whether a model was trained to end its turn as its chat template ends turns.

    Args:
        folder: the model.
        config: its configuration.
        tokenizer: its tokenizer.

    Raises:
        LoadError: what the folder says of it is of no known form.

    """
    stated = _read(_Ends, folder / _GENERATION)
    if (stated.chat_format or "chatml") != "chatml":  # how first-generation models say it
        return False
    known = {*turn_ends(folder, config), tokenizer.eos_token_id}
    return tokenizer.convert_tokens_to_ids(_TURN_END) in known


def turn_ends(folder: Path, config: Mapping[str, Any]) -> list[int]:
    """Return the ids of the tokens that a model's files say end its turn; raises as above."""
    stated = _read(_Ends, folder / _GENERATION)
    if stated.eos_token_id is None:
        stated = _validated(_Ends, config, folder / "config.json")
    ends = stated.eos_token_id
    return ends if isinstance(ends, list) else [] if ends is None else [ends]


def check_tokenizer(folder: Path, config: Any, tokenizer: Any) -> None:
    """Refuse a tokenizer that cannot be the one of the weights, which have some rows to spare.

    Raises:
        LoadError: it is one.

    """
    rows = config.vocab_size
    tokens = 1 + max(tokenizer.get_vocab().values(), default=-1)
    if not rows // 2 <= tokens <= rows:
        raise LoadError(
            f"{folder}: its tokenizer has {tokens:,} tokens and its weights are for {rows:,}: they "
            "do not belong to the same model"
        )


def _template(folder: Path, settings: _Settings) -> str | None:
    path = folder / "chat_template.jinja"
    if path.exists():
        return read_text(path, _MOST_TEMPLATE)
    template = settings.chat_template
    if isinstance(template, list):
        template = next((one.template for one in template if one.name == "default"), None)
    return template


def _check_rules(path: Path) -> None:
    """Make sure that text is split in linear time, and into the tokens of bytes.

    This comes before the file is loaded, since loading it already applies its rules.
    """
    try:
        text = read_text(path, _MOST_VOCABULARY)
        described = json.loads(text, object_pairs_hook=_without_repetition)
        if described["model"]["type"] != "BPE":
            raise LoadError(f"{path}: is not a byte-pair encoding, which all Qwen models have")
        for part in ("normalizer", "pre_tokenizer", "decoder"):
            _check_rule(path, described.get(part))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unusable(path, error) from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that comes twice, of which two parsers may see different values."""
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key comes twice")
    return content


def _check_rule(path: Path, rule: Any) -> None:
    """Refuse a normaliser, splitter or decoder that does what is not known here."""
    if rule is None:
        return
    kind, pattern = rule.get("type"), rule.get("pattern")
    known = ({"Regex": PATTERN}, {"Regex": _PATTERN_MARKS})
    if kind not in _LINEAR and not (kind == "Split" and pattern in known):
        raise LoadError(
            f"{path}: has a pre-tokenization rule of the type {reprlib.repr(kind)} that Qwen's "
            "tokenizers do not have: run the model behind a server, and use that "
            "as the endpoint"
        )
    for key in ("normalizers", "pretokenizers", "decoders"):
        for inner in rule.get(key, ()):
            _check_rule(path, inner)


def _unusable(path: Path, error: Exception) -> LoadError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return LoadError(f"{path}: its tokenizer cannot be loaded: {reason[:200]}")


def _read(kind: type[Model], path: Path) -> Model:
    return _validated(kind, read_json(path) if path.exists() else {}, path)


def _validated(kind: type[Model], content: Mapping[str, Any], path: Path) -> Model:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise LoadError(
            f"{path}: {first['loc'][0]} is {reprlib.repr(first['input'])}: {reason}"
        ) from error
