"""Finds the model that is measured where none is named: the demo's trained MiniLM, assembled once."""

import os
from pathlib import Path

from hack.demo.models import artifacts

_NAME = "debian-search-2"


def cache_folder() -> Path:
    """Return the user's folder of what benchmarks install."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reranker-bench"


def default_model() -> Path:
    """Return the folder of the demo's second revision, as examples/finetune/README.md makes it."""
    return next(artifact.folder for artifact in artifacts() if artifact.name == _NAME)
