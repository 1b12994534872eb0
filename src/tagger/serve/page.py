"""The page that shows the OpenAPI description to people.

It is made here, and needs neither scripts nor anything from elsewhere: FastAPI's own pages are
loaded from a public network, which a local server has no business to send anybody to.
"""

import json
from importlib.resources import files
from typing import Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(description: dict[str, Any]) -> HTMLResponse:
    """Return the page of an OpenAPI description."""
    template = (files(__package__) / "templates" / "docs.html").read_text(encoding="utf-8")
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = {
        name: json.dumps(schema, indent=2, ensure_ascii=False)
        for name, schema in description["components"]["schemas"].items()
    }
    text = (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            info=description["info"], operations=operations, schemas=schemas, schema_of=_schema_of
        )
    )
    return HTMLResponse(text, headers={"Content-Security-Policy": _POLICY})


def _schema_of(content: dict[str, Any]) -> str:
    """Return the name of the schema of a body, or nothing."""
    schema = content.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).rpartition("/")[2]
