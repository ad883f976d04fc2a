"""docs/reference/ says what the code says."""

import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS))

from generate import PAGES  # noqa: E402 (docs is no root of packages)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_the_reference_is_fresh(name: str) -> None:
    written = (DOCS / "reference" / name).read_text()

    assert written == PAGES[name](), "run `make docs`"
