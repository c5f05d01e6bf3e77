"""What loading a decoder needs beside its weights: its head, its scale.

No tensor that a file holds is read here.
"""

from typing import Any

import torch
from torch import nn


def share_head(module: Any) -> None:
    """Let the output head read the input embeddings' table, as tie_word_embeddings says."""
    module.get_output_embeddings().weight = module.get_input_embeddings().weight


def fill_scale(module: nn.Module, device: torch.device) -> None:
    """Compute the factor of the input embeddings, which no file holds and making modules without memory left empty."""
    for child in module.modules():
        if any(buffer.is_meta and name == "embed_scale" for name, buffer in child.named_buffers(recurse=False)):
            child.embed_scale = torch.tensor(child.scalar_embed_scale, device=device)
