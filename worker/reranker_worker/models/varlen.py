"""Attention of packed segments by torch's own operator: on GPUs, in half precision."""

from typing import cast

import torch

_WIDTH_MULTIPLE, _WIDEST = 8, 256
_FIRST_ARCHITECTURE = 8
"""NVIDIA's number for Ampere: FlashAttention, which the operator calls, refuses older GPUs, as the T4 is."""


def covers(query: torch.Tensor) -> bool:
    """Tell whether the operator computes attention of such queries, [1, heads, tokens, width]."""
    return (
        query.is_cuda
        and query.dtype in {torch.bfloat16, torch.float16}
        and query.shape[-1] % _WIDTH_MULTIPLE == 0
        and query.shape[-1] <= _WIDEST
        and torch.cuda.get_device_capability(query.device)[0] >= _FIRST_ARCHITECTURE
    )


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cumulative_queries: torch.Tensor,
    cumulative_keys: torch.Tensor,
    *,
    longest: tuple[int, int],
    scaling: float,
    window: tuple[int, int],
) -> torch.Tensor:
    """Let each segment's queries attend to its keys.

    query: [1, heads, tokens, width]; key, value: [1, key heads, tokens, width] → [1, tokens, heads, width].
    cumulative_queries, cumulative_keys: int32 [segments + 1], from 0 on, where each one begins and ends.
    longest: the most queries and the most keys of a segment.
    window: how many keys a query sees to its left and its right, -1 for all; with more keys than queries the last of
    both are aligned.
    """
    from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - importing it is slow, and few need it

    output = varlen_attn(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        cumulative_queries,
        cumulative_keys,
        *longest,
        scale=scaling,
        window_size=window,
        enable_gqa=key.shape[1] != query.shape[1],
    )
    return cast("torch.Tensor", output).unsqueeze(0)
