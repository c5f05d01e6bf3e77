"""The node of the end-to-end tests, with a containerd that mounts images."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import fleet, images, installed, node

__all__ = ["fleet", "images", "installed"]


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A running node."""
    yield from node("--image-volumes")
