"""Packed attention: every pair of a batch in one row of tokens, each attending to itself alone, without padding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch.nn import functional

PACKED = "packed"


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A batch as the model reads it; pair i's tokens are those from `bounds[i]` to `bounds[i + 1]`.

    input_ids, position_ids, type_ids: int64 [1, tokens]; starts: int64 [pairs]; cumulative: int32 [pairs + 1].
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    type_ids: torch.Tensor
    starts: torch.Tensor
    cumulative: torch.Tensor
    bounds: list[int]
    on_layer: Callable[[], None] | None = None
    """Called in each layer: a sign of life in a batch that takes long."""

    @property
    def longest(self) -> int:
        """Return the tokens of the longest pair."""
        return max(end - start for start, end in zip(self.bounds, self.bounds[1:], strict=False))


def register() -> None:
    """Make "packed" an attention implementation of transformers; importing it here keeps the worker's start short."""
    from transformers.masking_utils import AttentionMaskInterface  # noqa: PLC0415
    from transformers.modeling_utils import AttentionInterface  # noqa: PLC0415

    AttentionInterface.register(PACKED, packed_attention)
    AttentionMaskInterface.register(PACKED, _no_mask)


def packed_attention(
    module: torch.nn.Module,  # noqa: ARG001 - transformers' signature
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    *,
    scaling: float,
    packed: PackedBatch,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attend within each pair; query, key, value: [1, heads, tokens, width] → [1, tokens, heads, width]."""
    if packed.on_layer is not None:
        packed.on_layer()
    if query.is_cuda and query.dtype in {torch.bfloat16, torch.float16}:
        return _varlen(query, key, value, scaling, packed), None
    return _by_pair(query, key, value, scaling, packed), None


def _by_pair(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, packed: PackedBatch
) -> torch.Tensor:
    # Measured on CPU in fp32: one call a pair costs a tenth of a layer, and less than gathering pairs of like length.
    output = query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])
    for start, end in zip(packed.bounds, packed.bounds[1:], strict=False):
        output[:, start:end] = functional.scaled_dot_product_attention(
            query[:, :, start:end], key[:, :, start:end], value[:, :, start:end], scale=scaling
        ).transpose(1, 2)
    return output


def _varlen(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float, packed: PackedBatch
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - needs a CUDA build

    output = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        packed.cumulative,
        packed.cumulative,
        packed.longest,
        packed.longest,
        scale=scaling,
    )
    return cast("torch.Tensor", output).unsqueeze(0)


def _no_mask(*_: object, **__: object) -> None:
    """Return no mask: the pairs' bounds say what attends to what."""
