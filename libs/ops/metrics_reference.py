"""docs/reference/metrics.md, made from the metrics that the code defines.

`python -m ops.metrics_reference` writes it anew.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"
_KINDS = {
    "Counter": "counter",
    "Gauge": "gauge",
    "Histogram": "histogram",
    "CounterMetricFamily": "counter",
    "GaugeMetricFamily": "gauge",
}
_HEAD = """# Metrics

Every process answers `GET /metrics` on its own port (`KV_ERP_METRICS_BIND`); of several copies
(`--workers`) each on the next port. Made from the code by `make docs`.

- Ours begin with `kv_erp_`. `process_*` and `python_*` come from the Prometheus client: CPU,
  memory, open files, start time, garbage collection.
- No label grows without end: routes are templates, tenants are the first 200 that came to a
  process, all others are `other`.
- *Figures* are read from tables every 10 seconds by each worker of a service (of the gateway: by
  each server), and say the same in each: take the maximum over the processes first,
  `max without (instance) (…)`. So they are right after every restart, and nothing counts twice.

| metric | kind | labels | what it says | where |
|---|---|---|---|---|
"""


@dataclass(frozen=True, order=True)
class Definition:
    """A metric as the code defines it."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    module: str
    is_figure: bool = False


def definitions() -> list[Definition]:
    """Every metric of the product, by name."""
    paths = [*(ROOT / "libs").rglob("*.py"), *(ROOT / "services").rglob("*.py")]
    ours = [path for path in paths if not {"tests", "erp", "buf"} & set(path.parts)]
    return sorted({found for path in ours for found in _defined_in(path)})


def reference() -> str:
    """The page."""
    return _HEAD + "".join(
        f"| `{one.name}` | {'figure, ' if one.is_figure else ''}{one.kind} "
        f"| {', '.join(f'`{label}`' for label in one.labels)} | {one.help} | `{one.module}` |\n"
        for one in definitions()
    )


def _defined_in(path: Path) -> Iterator[Definition]:
    source = path.read_text()
    if "kv_erp_" not in source and "prometheus_client" not in source:
        return
    module = str(path.relative_to(ROOT))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            if node.func.id in _KINDS and _text(node.args[0]):
                yield _metric(node, _KINDS[node.func.id], module)
            elif node.func.id == "Figure":
                yield _figure(node, module)


def _metric(call: ast.Call, kind: str, module: str) -> Definition:
    named = {word.arg: word.value for word in call.keywords}
    labels = named.get("labels") or (call.args[2] if len(call.args) > 2 else None)  # noqa: PLR2004 (the third)
    return Definition(
        _text(call.args[0]), kind, _words(labels, module), _text(call.args[1]), module
    )


def _figure(call: ast.Call, module: str) -> Definition:
    kind = "counter" if any(word.arg == "only_grows" for word in call.keywords) else "gauge"
    labels = call.args[3] if len(call.args) > 3 else None  # noqa: PLR2004 (the fourth)
    name, text = _text(call.args[0]), _text(call.args[1])
    return Definition(name, kind, ("service", *_words(labels, module)), text, module, True)


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def _words(node: ast.expr | None, module: str) -> tuple[str, ...]:
    if isinstance(node, ast.List | ast.Tuple):
        words: list[str] = []
        for item in node.elts:
            words += _words(item.value, module) if isinstance(item, ast.Starred) else [_text(item)]
        return tuple(words)
    if isinstance(node, ast.Name):
        return _words(_value_of(node.id, module), module)
    return ()


def _value_of(name: str, module: str) -> ast.expr | None:
    """What a constant of a module is."""
    for node in ast.parse((ROOT / module).read_text()).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            return node.value
    return None


if __name__ == "__main__":
    REFERENCE.parent.mkdir(exist_ok=True)
    REFERENCE.write_text(reference())
