"""The reference page: the OpenAPI document as one HTML page that needs nothing from elsewhere."""

from collections.abc import Iterator
from html import escape
from importlib import resources
from typing import Any

from gateway.shown_example import example_of

Object = dict[str, Any]


def reference_page(document: Object) -> str:
    """The page for an OpenAPI document."""
    style = resources.files("gateway").joinpath("reference_page.css").read_text("utf-8")
    info = document["info"]
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])} reference</title><style>{style}</style></head><body>",
            f"<nav><h1>{escape(info['title'])}</h1>{''.join(_contents(document))}</nav>",
            f"<main><h1>REST reference</h1>{_paragraphs(info['description'])}",
            '<p>As a file: <a href="/api/openapi.json">openapi.json</a> (OpenAPI 3.1).</p>',
            *_services(document),
            "<h2>Types</h2>",
            *map(_type, sorted(document["components"]["schemas"].items())),
            "</main></body></html>",
        ]
    )


def _operations(document: Object, tag: str) -> Iterator[tuple[str, str, Object]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method.upper(), path, operation


def _contents(document: Object) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2><ul>"
        for method, path, operation in _operations(document, tag["name"]):
            short = escape(path.removeprefix("/api/v1"))
            yield f'<li><a href="#{operation["operationId"]}">{_badge(method)} {short}</a></li>'
        yield "</ul>"


def _services(document: Object) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>{_paragraphs(tag.get('description', ''))}"
        for method, path, operation in _operations(document, tag["name"]):
            yield from _operation(document, method, path, operation)


def _operation(document: Object, method: str, path: str, operation: Object) -> Iterator[str]:
    yield f'<section id="{operation["operationId"]}">'
    yield f"<h3>{_badge(method)} <code>{escape(path)}</code></h3>"
    yield _paragraphs(operation["description"])
    if permission := operation.get("x-permission"):
        yield f"<p>Permission <code>{escape(permission)}</code></p>"
    parameters = [_resolved(document, one) for one in operation["parameters"]]
    if parameters:
        yield "<h4>Parameters</h4>" + _table(map(_parameter_row, parameters))
    if body := operation.get("requestBody"):
        schema = _resolved(document, body["content"]["application/json"]["schema"])
        if schema.get("properties"):
            yield "<h4>Body</h4>" + _fields(schema)
    yield "<h4>Answers</h4><p>" + " ".join(_answers(operation)) + "</p>"
    yield from example_of(method, path, operation)
    yield "</section>"


def _answers(operation: Object) -> Iterator[str]:
    for status, answer in operation["responses"].items():
        content = answer.get("content", {}).get("application/json", {}).get("schema")
        kind = f" {_kind(content)}" if content else ""
        yield f'<span class="status s{status[0]}">{status}{kind}</span>'


def _parameter_row(parameter: Object) -> tuple[str, str, str]:
    name = escape(parameter["name"]) + (" *" if parameter.get("required") else "")
    place = f"{_kind(parameter['schema'])} <small>{parameter['in']}</small>"
    return name, place, _note(parameter["schema"], parameter.get("description", ""))


def _type(item: tuple[str, Object]) -> str:
    name, schema = item
    described = _paragraphs(schema.get("description", ""))
    return f'<section id="type-{name}"><h3>{name}</h3>{described}{_fields(schema)}</section>'


def _fields(schema: Object) -> str:
    required = schema.get("required", ())
    return _table(
        (
            escape(name) + (" *" if name in required else ""),
            _kind(field),
            _note(field, field.get("description", "")),
        )
        for name, field in schema["properties"].items()
    )


def _table(rows: Any) -> str:
    lines = (
        f"<tr><td><code>{name}</code></td><td>{kind}</td><td>{note}</td></tr>"
        for name, kind, note in rows
    )
    return f"<table>{''.join(lines)}</table>"


def _kind(schema: Object) -> str:
    if reference := schema.get("$ref"):
        name = reference.rpartition("/")[2]
        return f'<a href="#type-{name}">{name}</a>'
    if schema.get("type") == "array":
        return f"{_kind(schema['items'])}[]"
    return escape(schema.get("format") or schema.get("type", ""))


def _note(schema: Object, description: str) -> str:
    words = schema.get("enum")
    limits = ", ".join(
        f"{label} {schema[key]}"
        for key, label in (
            ("minLength", "at least"),
            ("maxLength", "at most"),
            ("minItems", "at least"),
            ("maxItems", "at most"),
        )
        if key in schema
    )
    unit = " items" if "maxItems" in schema or "minItems" in schema else " characters"
    parts = [escape(description)]
    if words:
        parts.append(" ".join(f"<code>{escape(word)}</code>" for word in words if word))
    if limits:
        parts.append(f"<small>{limits}{unit}</small>")
    return " ".join(parts)


def _resolved(document: Object, value: Object) -> Object:
    for step in value.get("$ref", "").split("/")[1:]:
        document = document[step]
    return document if "$ref" in value else value


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part)


def _badge(method: str) -> str:
    return f'<b class="m {method.lower()}">{method}</b>'
