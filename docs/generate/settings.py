"""The page of settings."""

from collections.abc import Iterator

from common.settings import Address, Settings, Variable, variables


def settings_page() -> str:
    """Every environment variable, by what it concerns."""
    return "\n".join(_settings_lines()) + "\n"


def _settings_lines() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "Every process reads these once, at its start, and stops with a sentence for each that is"
    yield "malformed, contradicts another, or begins with `KV_ERP_` and is not here. An empty one"
    yield "counts as absent. Names without `KV_ERP_` are those of the reference architecture: where"
    yield "the system can be no other way, other values are refused."
    known = variables()
    for concept in Settings.__bases__:
        yield ""
        yield f"## {_title(concept)}"
        yield ""
        yield str(concept.__doc__)
        yield ""
        yield "| variable | default | meaning |"
        yield "|---|---|---|"
        for field in concept.__annotations__:
            default = getattr(concept, field)
            yield _row(known[field], default)


def _title(concept: type) -> str:
    return concept.__name__.removesuffix("Settings")


def _row(variable: Variable, default: object) -> str:
    meaning = variable.meaning.replace("|", "\\|")
    return f"| `{variable.name}` | {_shown(default)} | {meaning} |"


def _shown(default: object) -> str:
    if default is None or default in ("", ()):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, Address) and default.port == 0:
        return f"{default.host}, any port"
    return f"`{default}`" if isinstance(default, str) else str(default)
