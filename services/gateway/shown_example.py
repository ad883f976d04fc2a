"""An operation's example as a person reads it: a command to paste, and what it answers."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any
from urllib.parse import quote, urlencode

Object = dict[str, Any]


def example_of(method: str, path: str, operation: Object) -> Iterator[str]:
    """The example in HTML; nothing where there is none."""
    given = {
        place: {
            one["name"]: one["example"]
            for one in operation["parameters"]
            if "example" in one and one["in"] == place
        }
        for place in ("path", "query")
    }
    body = _example(operation.get("requestBody", {}))
    answers = [_example(answer) for answer in operation["responses"].values()]
    answer = next((one for one in answers if one is not None), None)
    if not any((given["path"], given["query"], body is not None, answer is not None)):
        return
    yield "<h4>Example</h4>"
    yield f"<pre>{escape(_command(method, path, given, body))}</pre>"
    if answer is not None:
        yield f"<pre>{escape(_written(answer))}</pre>"


def _command(method: str, path: str, given: Object, body: Any) -> str:
    for name, value in given["path"].items():
        path = path.replace(f"{{{name}}}", quote(value, safe=""))
    query = f"?{urlencode(given['query'])}" if given["query"] else ""
    words = [f'curl "$URL{path}{query}" -H "Authorization: Bearer $TOKEN"']
    if body is None and method != "GET":
        words.append(f"-X {method}")
    if body is not None:
        words.append(f"-X {method}" if method != "POST" else "")
        text = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
        words.append(f"-H 'Content-Type: application/json' \\\n  -d '{text}'")
    return " ".join(filter(None, words))


def _example(part: Object) -> Any:
    return part.get("content", {}).get("application/json", {}).get("example")


def _written(answer: Any) -> str:
    return json.dumps(answer, indent=2, ensure_ascii=False)
