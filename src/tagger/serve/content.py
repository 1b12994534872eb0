"""What both decision protocols take for a text: text, or JSON that is read as text."""

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, WithJsonSchema

from tagger._util.text import storable

MAX_DEPTH = 32
"""How deep JSON may be nested, as in OpenAI's protocol."""


def _bounded(content: Any) -> Any:
    """Refuse JSON that is nested too deeply or holds what is no JSON. Raises `ValueError`."""
    if not isinstance(content, str | dict | list):
        raise ValueError("give text, a JSON object or an array")
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH + 1):
        if any(isinstance(each, float) and not math.isfinite(each) for each in level):
            raise ValueError("NaN and Infinity are no JSON")
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return content
    raise ValueError(f"JSON is nested deeper than {MAX_DEPTH} levels")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


Content = Annotated[
    Any,
    AfterValidator(_bounded),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array"}]}),
]
"""Text, or a JSON object or array: one fault where it is neither, instead of one for each."""


def text_of(content: Any) -> str:
    """Return content as a model reads it; none is an empty text."""
    if content is None:
        return ""
    if not isinstance(content, str):
        content = json.dumps(content, ensure_ascii=False)
    return storable(content)
