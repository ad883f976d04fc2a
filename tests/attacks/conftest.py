"""What attackers start from."""

from collections.abc import AsyncIterator

import pytest
from mesh import Mesh

from ops.background import BackgroundStack


@pytest.fixture(scope="session")
async def mesh(stack: BackgroundStack) -> AsyncIterator[Mesh]:
    """The servers behind the gateway."""
    mesh = Mesh(stack)
    yield mesh
    await mesh.close()
