"""`python docs/generate` writes every page anew."""

import sys
from pathlib import Path

DOCS = Path(__file__).parents[1]
# Run as a folder, Python looks for modules inside it.
sys.path.insert(0, str(DOCS))

from generate import PAGES  # noqa: E402 (found by the line above)


def main() -> None:
    """Write docs/reference/."""
    reference = DOCS / "reference"
    reference.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (reference / name).write_text(page())


if __name__ == "__main__":
    main()
