"""What loading a decoder needs beside its weights: a configuration that packed attention covers, its head, its scale.

No tensor that a file holds is read here.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

REQUIRED: Mapping[str, tuple[object, ...]] = {
    "use_sliding_window": (None, False),
    "use_bidirectional_attention": (None, False),
    "quantization_config": (None,),
}
"""Members of config.json with the values that packed causal attention covers."""


def share_head(module: Any) -> None:
    """Let the output head read the input embeddings' table, as tie_word_embeddings says."""
    module.get_output_embeddings().weight = module.get_input_embeddings().weight


def fill_scale(module: nn.Module, device: torch.device) -> None:
    """Compute the factor of the input embeddings, which no file holds and making modules without memory left empty."""
    for child in module.modules():
        if any(buffer.is_meta and name == "embed_scale" for name, buffer in child.named_buffers(recurse=False)):
            child.embed_scale = torch.tensor(child.scalar_embed_scale, device=device)
