"""Rotary position embeddings: which kinds are built in, and their tables, which no file holds."""

from typing import Any

import torch
from torch import nn

from reranker_worker.errors import CheckpointError

# The tables of these kinds don't depend on how long the longest text of a batch is.
_STATIC = ("default", "linear", "llama3", "yarn")


def check(settings: Any) -> None:
    """Refuse a configuration whose tables change with the text's length; one without rotary embeddings passes."""
    parameters = getattr(settings, "rope_parameters", None) or {}
    # Where local and global layers differ, each kind of layer has parameters of its own.
    by_layer = [value for value in parameters.values() if isinstance(value, dict)]
    for kind in [entry.get("rope_type", "default") for entry in by_layer or [parameters]]:
        if kind not in _STATIC:
            raise CheckpointError(
                "UnsupportedArchitecture", f"rope_type {str(kind)[:100]!r} isn't built in; known: {', '.join(_STATIC)}"
            )


def fill(module: Any, device: torch.device) -> None:
    """Compute the tables, which making the modules without memory has left empty."""
    for path, child in list(module.named_modules()):
        if _has_empty_table(child):
            module.set_submodule(path, type(child)(config=module.config).to(device))


def _has_empty_table(module: nn.Module) -> bool:
    return any(table.is_meta and name.endswith("inv_freq") for name, table in module.named_buffers(recurse=False))
