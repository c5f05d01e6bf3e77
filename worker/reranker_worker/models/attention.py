"""Packed attention: every pair of a batch in one row of tokens, each attending to itself alone, without padding."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch.nn import functional

from reranker_worker.kernels import attention as attention_kernel
from reranker_worker.models import varlen

PACKED = "packed"
_MOST_STATES = 1 << 20
"""Numbers of a pair's states; the kernel lays them out twice, in 8 MB a thread."""


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A batch as the model reads it; pair i's tokens are those from `bounds[i]` to `bounds[i + 1]`, more are filling.

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
        return max(end - start for start, end in pairwise(self.bounds))


def register() -> None:
    """Make "packed" an attention implementation of transformers; importing it here keeps the worker's start short.

    transformers makes no mask for one that it knows no kind of mask of.
    """
    from transformers.modeling_utils import AttentionInterface  # noqa: PLC0415

    AttentionInterface.register(PACKED, packed_attention)


def packed_attention(
    module: torch.nn.Module,  # noqa: ARG001 - transformers' signature
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    *,
    scaling: float,
    packed: PackedBatch,
    sliding_window: int | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attend within each pair, in local layers to tokens less than `sliding_window` away.

    query, key, value: [1, heads, tokens, width] → [1, tokens, heads, width].
    """
    if packed.on_layer is not None:
        packed.on_layer()
    reach = -1 if sliding_window is None else sliding_window - 1
    longest, bounds = packed.longest, (packed.cumulative, packed.cumulative)
    if varlen.covers(query):
        most, window = (longest, longest), (reach, reach)
        return varlen.attend(query, key, value, *bounds, longest=most, scaling=scaling, window=window), None
    if attention_kernel.covers(query, key, value, longest=longest):
        return attention_kernel.attend(query, key, value, *bounds, longest=longest, scaling=scaling, reach=reach), None
    return attention_by_torch(query, key, value, packed, scaling=scaling, reach=reach), None


def first_token_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scaling: float, packed: PackedBatch
) -> torch.Tensor:
    """Attend from each pair's first token to the pair; query: [1, heads, pairs, width] → [1, pairs, heads, width]."""
    if packed.on_layer is not None:
        packed.on_layer()
    longest = packed.longest
    bounds = (torch.arange(len(packed.bounds), dtype=torch.int32, device=query.device), packed.cumulative)
    if varlen.covers(query):
        return varlen.attend(query, key, value, *bounds, longest=(1, longest), scaling=scaling, window=(-1, -1))
    if attention_kernel.covers(query, key, value, longest=longest):
        return attention_kernel.attend(query, key, value, *bounds, longest=longest, scaling=scaling)
    output = query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])
    for i, (start, end) in enumerate(pairwise(packed.bounds)):
        output[:, i : i + 1] = functional.scaled_dot_product_attention(
            query[:, :, i : i + 1], key[:, :, start:end], value[:, :, start:end], scale=scaling
        ).transpose(1, 2)
    return output


def reads_states(states: torch.Tensor, packed: PackedBatch) -> bool:
    """Tell whether `first_token_attention_to_states` is at hand for the states of a batch, [1, tokens, hidden]."""
    longest, hidden = packed.longest, states.shape[-1]
    return longest * hidden <= _MOST_STATES and attention_kernel.covers(states.unsqueeze(1), longest=longest)


def first_token_attention_to_states(
    query: torch.Tensor,
    states: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scaling: float,
    packed: PackedBatch,
) -> torch.Tensor:
    """Attend from each pair's first token without any token's key and value, which would cost more than all the rest.

    A score is q·(Kx) = (Kᵀq)·x, so a head's query is multiplied by its keys' weights once and then reads states; and a
    sum of values is V times that sum of states. Without biases: a key's adds the same to all scores of a query, and a
    value's is the caller's to add.

    query: [1, heads, pairs, width]; states: [1, tokens, hidden]; key, value: weights, float32 [heads * width, hidden]
    → [1, pairs, heads * width].
    """
    if packed.on_layer is not None:
        packed.on_layer()
    _, heads, pairs, width = query.shape
    keys, values = (weight.view(heads, width, -1) for weight in (key, value))
    asked = (query[0].float() @ keys).transpose(0, 1).to(states.dtype).reshape(1, 1, pairs * heads, -1)
    bounds = (torch.arange(pairs + 1, dtype=torch.int32) * heads, packed.cumulative)
    read = states.unsqueeze(1)
    mixed = attention_kernel.attend(asked, read, read, *bounds, longest=packed.longest, scaling=scaling)
    by_head = mixed.view(pairs, heads, -1).transpose(0, 1).float() @ values.transpose(1, 2)
    return by_head.transpose(0, 1).flatten(1).to(states.dtype).unsqueeze(0)


def attention_by_torch(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, packed: PackedBatch, *, scaling: float, reach: int = -1
) -> torch.Tensor:
    """Attend within each pair by a call of torch's each, to tokens at most `reach` away; the shapes are as above."""
    output = query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])
    for start, end in pairwise(packed.bounds):
        queries, keys, values = (states[:, :, start:end] for states in (query, key, value))
        if reach < 0 or end - start <= reach + 1:
            attended = functional.scaled_dot_product_attention(queries, keys, values, scale=scaling)
        else:
            attended = local_attention(queries, keys, values, scaling=scaling, reach=reach)
        output[:, start:end] = attended.transpose(1, 2)
    output[:, packed.bounds[-1] :] = 0
    return output


def local_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scaling: float, reach: int
) -> torch.Tensor:
    """Attend to tokens at most `reach` away, block by block, so that the cost grows with the length only.

    query, key, value: [1, heads, tokens, width], and so is what is returned.
    """
    length, block = query.shape[2], 2 * max(reach, 1)
    places = torch.arange(length, device=query.device)
    output = torch.empty_like(query)
    for start in range(0, length, block):
        queries = slice(start, min(start + block, length))
        keys = slice(max(0, start - reach), min(queries.stop + reach, length))
        near = (places[queries, None] - places[None, keys]).abs() <= reach
        output[:, :, queries] = functional.scaled_dot_product_attention(
            query[:, :, queries], key[:, :, keys], value[:, :, keys], attn_mask=near, scale=scaling
        )
    return output
