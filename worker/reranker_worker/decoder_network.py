"""What loading a decoder needs beside its weights: a configuration that packed attention covers, its head, its tables.

No tensor that a file holds is read here.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from reranker_worker.errors import CheckpointError

# Rotary tables of these kinds don't depend on how long the longest text of a batch is.
_STATIC_ROPE = ("default", "linear", "llama3", "yarn")

REQUIRED: Mapping[str, tuple[object, ...]] = {
    "use_sliding_window": (None, False),
    "use_bidirectional_attention": (None, False),
    "quantization_config": (None,),
}
"""Members of config.json with the values that packed causal attention covers."""


def check_rope(settings: Any) -> None:
    """Refuse rotary embeddings whose tables change with the text's length."""
    kind = (getattr(settings, "rope_parameters", None) or {}).get("rope_type", "default")
    if kind not in _STATIC_ROPE:
        raise CheckpointError(
            "UnsupportedArchitecture", f"rope_type {str(kind)[:100]!r} isn't built in; known: {', '.join(_STATIC_ROPE)}"
        )


def share_head(module: Any) -> None:
    """Let the output head read the input embeddings' table, as tie_word_embeddings says."""
    module.get_output_embeddings().weight = module.get_input_embeddings().weight


def fill_tables(module: Any, device: torch.device) -> None:
    """Compute the tables that no checkpoint holds, which making the modules without memory has left empty."""
    for path, child in list(module.named_modules()):
        if _is_empty(child, "inv_freq"):
            module.set_submodule(path, type(child)(config=module.config).to(device))
        if _is_empty(child, "embed_scale"):
            child.embed_scale = torch.tensor(child.scalar_embed_scale, device=device)


def _is_empty(module: nn.Module, name: str) -> bool:
    return any(buffer.is_meta and key == name for key, buffer in module.named_buffers(recurse=False))
