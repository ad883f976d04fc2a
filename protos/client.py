"""Turns the OpenAPI document into libs/erp/client, the typed half of the Python client.

`python protos/client.py`, after generate.py. `libs/client` is the half that is written by hand.
"""

import keyword
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

from gateway.contract import all_services
from gateway.openapi import openapi
from gateway.routes import Routes

Object = dict[str, Any]

TARGET = Path(__file__).parents[1] / "libs" / "erp" / "client"
TYPES = '''"""What the API takes and answers, as JSON. Generated from the protos."""

from typing import Any, Literal, NotRequired, TypedDict

'''
_SCALARS = {
    "string": "str",
    "integer": "int",
    "boolean": "bool",
    "null": "None",
    "object": "dict[str, Any]",
}
OPERATIONS = '''"""Every operation of the API. Generated from the protos."""

from collections.abc import AsyncIterator
from typing import Unpack, cast

from client.requests import Options, Requests, segment
from erp.client import types


class Operations(Requests):
    """One method a route."""

'''


def main() -> None:
    """Write the package anew."""
    document = openapi(Routes(all_services()).all)
    TARGET.mkdir(exist_ok=True)
    (TARGET / "__init__.py").touch()
    schemas = document["components"]["schemas"]
    kinds = [*map(_kind, schemas.items()), *_queries(document)]
    (TARGET / "types.py").write_text(TYPES + "\n\n".join(kinds) + "\n")
    methods = [
        _method(document, path, verb, operation) for path, verb, operation in _operations(document)
    ]
    (TARGET / "operations.py").write_text(OPERATIONS + "\n".join(methods))


def _operations(document: Object) -> Iterator[tuple[str, str, Object]]:
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            yield path, verb.upper(), operation


def _kind(named: tuple[str, Object]) -> str:
    """A message as a TypedDict."""
    name, schema = named
    return _typed_dict(
        name, schema.get("description", ""), schema["properties"], schema.get("required", ())
    )


def _queries(document: Object) -> Iterator[str]:
    """What each reading route may be asked with."""
    for _, _, operation in _operations(document):
        if parameters := _query(document, operation):
            fields = {one["name"]: one["schema"] for one in parameters}
            yield _typed_dict(
                _query_name(operation), f"Asks {operation['operationId']}.", fields, ()
            )


def _query(document: Object, operation: Object) -> list[Object]:
    resolved = (_resolved(document, one) for one in operation["parameters"])
    return [one for one in resolved if one["in"] == "query"]


def _query_name(operation: Object) -> str:
    return f"{operation['operationId']}Query"


def _typed_dict(name: str, said: str, fields: Object, required: Any) -> str:
    lines = [
        f'"{field}": {_type(schema) if field in required else f"NotRequired[{_type(schema)}]"},'
        for field, schema in fields.items()
    ]
    body = indent("\n".join(lines), "        ")
    # In the functional form a field may have any name, such as "from".
    return (
        f'{name} = TypedDict(\n    "{name}",\n    {{\n{body}\n    }},\n)\n"""{_quoted(said)}"""\n'
    )


def _type(schema: Object) -> str:
    """The Python type of a JSON value."""
    if reference := schema.get("$ref"):
        return f'"{reference.rpartition("/")[2]}"'
    if words := schema.get("enum"):
        return f"Literal[{', '.join(map(repr, words))}]"
    if items := schema.get("items"):
        return f"list[{_type(items)}]"
    if isinstance(kinds := schema.get("type"), list):
        return " | ".join(_type({"type": kind}) for kind in kinds)
    # What is either empty or of some form is text.
    return _SCALARS.get("string" if "anyOf" in schema else schema.get("type", ""), "Any")


def _method(document: Object, path: str, verb: str, operation: Object) -> str:
    names = re.findall(r"{(\w+)}", path)
    said = _quoted(operation["description"])
    arguments = [*(f"{name}: str" for name in names), "/"] if names else []
    arguments.append("options: Options | None = None")
    sent = ""
    if "requestBody" in operation:
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        arguments.append(f"**body: Unpack[types.{reference.rpartition('/')[2]}]")
        sent = "body=body, "
    elif _query(document, operation):
        arguments.append(f"**query: Unpack[types.{_query_name(operation)}]")
        sent = "query=query, "
    template = f'"{path}"'
    if names:
        template = "f" + re.sub(r"{(\w+)}", r"{segment(\1)}", template)
    answer = _answer(operation)
    call = f'await self.request("{verb}", {template}, {sent}options=options)'
    lines = [
        f"    async def {_snake(operation['operationId'])}(",
        f"        self, {', '.join(arguments)}",
        f"    ) -> {answer}:",
        f'        """{said}"""',
        f"        {call}" if answer == "None" else f"        return cast({answer!r}, {call})",
        "",
    ]
    return "\n".join([*lines, *_iteration(document, operation)])


def _iteration(document: Object, operation: Object) -> list[str]:
    """For a list, a second method that goes through all of its pages."""
    if not any(one["name"] == "page_token" for one in _query(document, operation)):
        return []
    answer = document["components"]["schemas"][_answer(operation).removeprefix("types.")]
    (plural, items), *_ = (
        (name, schema["items"])
        for name, schema in answer["properties"].items()
        if schema.get("type") == "array"
    )
    item = f"types.{items['$ref'].rpartition('/')[2]}"
    name = _snake(operation["operationId"])
    asked = f"**query: Unpack[types.{_query_name(operation)}]"
    return [
        f"    def iterate_{name.removeprefix('list_')}(",
        f"        self, options: Options | None = None, {asked}",
        f"    ) -> AsyncIterator[{item}]:",
        f'        """All pages of `{name}`, one item after the other."""',
        f'        return self.iterate(self.{name}, "{plural}", options, query)',
        "",
    ]


def _answer(operation: Object) -> str:
    for status in ("200", "201", "202"):
        if content := operation["responses"].get(status, {}).get("content"):
            reference: str = content["application/json"]["schema"]["$ref"]
            return f"types.{reference.rpartition('/')[2]}"
    return "None"


def _resolved(document: Object, value: Object) -> Object:
    for step in value.get("$ref", "").split("/")[1:]:
        document = document[step]
    return document if "$ref" in value else value


def _snake(name: str) -> str:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return f"{snake}_" if keyword.iskeyword(snake) else snake


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', "'''").strip() or "No more is said."


if __name__ == "__main__":
    main()
