"""Files in .dev that other programs read while they are replaced."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from ops.errors import StackFailure


def write_json(path: Path, content: Any) -> None:
    """Replace `path` in one step, readable by its owner only."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The content of `path`, or None if it doesn't exist; damaged JSON is a StackFailure."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StackFailure(f"{path} is not JSON ({error}); repair it or delete it.") from error
