"""The node of the end-to-end tests, with a containerd that mounts images."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import fleet, images, installed, run
from tests.fixtures.storage import registry_server

__all__ = ["fleet", "images", "installed"]


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path]:
    """A running node. KEEP=1 leaves it to be looked at."""
    run(sys.executable, "-m", "hack.cluster", "--image-volumes", "up")
    yield Path(run(sys.executable, "-m", "hack.cluster", "kubeconfig").strip())
    if not os.environ.get("KEEP"):
        run(sys.executable, "-m", "hack.cluster", "down")


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """A registry's address on the node's loopback: containerd reaches it, and no pod does."""
    with registry_server(tmp_path) as port:
        yield f"localhost:{port}"
