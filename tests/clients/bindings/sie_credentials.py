"""How a user of an SIE integration gives a key: it has no argument for one, the SDK reads it from the environment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from tests.clients.client import Ask


@contextmanager
def key_in_environment(ask: Ask) -> Iterator[None]:
    """Set the key, and the only server that the SDK sends it to."""
    with patch.dict(os.environ, {"SIE_API_KEY": ask.key, "SIE_BASE_URL": ask.url}):
        yield
