"""Write docs/http.md from the server's OpenAPI description, or with --check say if it is stale."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2

from tagger.selection import Selection
from tagger.serve.app import application

DOCS = Path(__file__).parents[1] / "docs" / "http.md"

_BEGINNING = """# HTTP

Generated from the server's OpenAPI description by `make docs`. A running server has it at
`/openapi.json`, and as a page at `/docs`; [Serving](serving.md) says what the fields mean, what the
limits are and which key is needed.
"""


async def description() -> dict[str, Any]:
    """Return the OpenAPI description, which needs no model."""
    rank: Any = SimpleNamespace(name="", vocabulary=(), model=None)
    transport = httpx2.ASGITransport(application(rank, Selection()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return dict((await client.get("/openapi.json")).raise_for_status().json())


def render(openapi: dict[str, Any]) -> str:
    """Return the page."""
    parts = [_BEGINNING]
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            parts.append(f"\n## {method.upper()} {path}\n\n{operation['summary']}.\n\n")
            parts.append("".join(_bodies(operation)))
    parts.append("\n## Schemas\n")
    for name, schema in openapi["components"]["schemas"].items():
        parts.append(
            f"\n### {_short(name)}\n\n{_text(schema.get('description', ''))}".rstrip() + "\n\n"
        )
        parts.append("".join(_fields(schema)) if "properties" in schema else f"{_type(schema)}\n")
    return "".join(parts)


def _bodies(operation: dict[str, Any]) -> Iterator[str]:
    yield "| | body |\n|---|---|\n"
    if "requestBody" in operation:
        yield f"| request | {_body(operation['requestBody'])} |\n"
    by_body: dict[str, list[str]] = {}
    for status, response in sorted(operation["responses"].items()):
        by_body.setdefault(_body(response), []).append(status)
    for body, statuses in by_body.items():
        yield f"| {', '.join(statuses)} | {body} |\n"


def _body(described: dict[str, Any]) -> str:
    """Return the types of a body, or its media types where it is not JSON."""
    kinds = [
        _type(content["schema"]) if "schema" in content else f"`{media}`"
        for media, content in described.get("content", {}).items()
    ]
    return ", ".join(kinds) or str(described["description"])


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    yield "| field | type | |\n|---|---|---|\n"
    for name, field in schema["properties"].items():
        required = "required" if name in schema.get("required", ()) else ""
        default = f"default `{json.dumps(field['default'])}`" if field.get("default") else required
        text = "; ".join(filter(None, (_text(field.get("description", "")), default)))
        yield f"| `{name}` | {_type(field)} | {text} |\n"


def _type(schema: dict[str, Any]) -> str:
    """Return what a value may be, with its bounds."""
    if "$ref" in schema:
        name = _short(schema["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.lower().replace('.', '')})"
    for joint in ("anyOf", "oneOf"):
        if joint in schema:
            return " or ".join(map(_type, schema[joint]))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum") or [schema["const"]]
        return " or ".join(f"`{json.dumps(value)}`" for value in values)
    kind = schema.get("type", "anything")
    if kind == "array":
        kind = f"list of ({_type(schema.get('items', {}))})"
    elif isinstance(schema.get("additionalProperties"), dict):
        kind = f"object of ({_type(schema['additionalProperties'])})"
    bounds = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"))
    lengths = (("minLength", "≥"), ("maxLength", "≤"), ("minItems", "≥"), ("maxItems", "≤"))
    said = [f"{sign} {schema[name]:g}" for name, sign in bounds if name in schema]
    said += [f"length {sign} {schema[name]:,}" for name, sign in lengths if name in schema]
    return f"{kind}, {', '.join(said)}" if said else str(kind)


def _short(name: str) -> str:
    """Return the name of a schema; of two with one name, behind that of their module."""
    return ".".join(name.split("__")[-2:])


def _text(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main() -> None:
    """Write the page, or compare it."""
    text = render(asyncio.run(description()))
    if "--check" not in sys.argv:
        DOCS.write_text(text, encoding="utf-8")
    elif not DOCS.is_file() or DOCS.read_text(encoding="utf-8") != text:
        sys.exit("docs/http.md is stale: run `make docs`")


if __name__ == "__main__":
    main()
