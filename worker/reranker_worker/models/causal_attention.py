"""Packed attention of decoders: each segment sees its own past and the whole of the prefix that it shares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch.nn import functional

from reranker_worker.device import copied
from reranker_worker.kernels import attention as attention_kernel
from reranker_worker.models import varlen

PACKED_CAUSAL = "packed-causal"


States = tuple[torch.Tensor, torch.Tensor]
"""A layer's keys and values, both [1, key heads, tokens, width]."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens from `start` to `end` of the packed row.

    They continue the prefix whose keys are those of `prefix`, counted through the past's keys and then the row's.
    """

    start: int
    end: int
    prefix: range = range(0)

    @property
    def queries(self) -> int:
        """Return how many tokens attend."""
        return self.end - self.start

    @property
    def keys(self) -> int:
        """Return how many tokens the last of them sees."""
        return self.queries + len(self.prefix)


@dataclass(frozen=True, slots=True)
class CausalBatch:
    """What attention needs to know of a batch: its segments, and for each in turn the rows of the keys that it sees.

    key_rows: int64 [keys]; cumulative_queries, cumulative_keys: int32 [segments + 1].
    """

    segments: Sequence[Segment]
    past: Sequence[States]
    """In each layer the keys and values of prefixes computed before; empty without any."""
    keep: Sequence[tuple[Segment, list[States]]]
    """The segments whose keys and values are wanted, and where each layer puts them."""
    key_rows: torch.Tensor
    cumulative_queries: torch.Tensor
    cumulative_keys: torch.Tensor
    on_layer: Callable[[], None] | None = None
    """Called in each layer: a sign of life in a batch that takes long."""
    masks: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)
    """Which key each query sees, by (queries, keys); the first layer makes them where attention needs any."""

    @property
    def longest(self) -> int:
        """Return the most keys that a segment sees."""
        return max(segment.keys for segment in self.segments)


def register() -> None:
    """Make "packed-causal" an attention implementation of transformers."""
    from transformers.modeling_utils import AttentionInterface  # noqa: PLC0415

    AttentionInterface.register(PACKED_CAUSAL, packed_causal_attention)


def causal_batch(
    segments: Sequence[Segment],
    device: torch.device,
    *,
    past: Sequence[States] = (),
    keep: Sequence[tuple[Segment, list[States]]] = (),
    on_layer: Callable[[], None] | None = None,
) -> CausalBatch:
    """Return the batch of segments that lie side by side in a row, without gaps."""
    first = past[0][0].shape[2] if past else 0
    rows = [
        row for segment in segments for row in (*segment.prefix, *range(first + segment.start, first + segment.end))
    ]
    queries, keys = [segment.queries for segment in segments], [segment.keys for segment in segments]
    return CausalBatch(
        segments=segments,
        past=past,
        keep=keep,
        key_rows=copied(torch.tensor(rows), device),
        cumulative_queries=_cumulative(queries, device),
        cumulative_keys=_cumulative(keys, device),
        on_layer=on_layer,
    )


def packed_causal_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001 - transformers' signature
    *,
    scaling: float,
    packed: CausalBatch,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Attend within each segment and to its prefix.

    query: [1, heads, tokens, width]; key, value: [1, key heads, tokens, width] → [1, tokens, heads, width].
    """
    if packed.on_layer is not None:
        packed.on_layer()
    for segment, states in packed.keep:
        rows = slice(segment.start, segment.end)
        states.append((key[:, :, rows].clone(), value[:, :, rows].clone()))
    if packed.past:
        past_keys, past_values = packed.past[cast("int", module.layer_idx)]
        key, value = torch.cat([past_keys, key], dim=2), torch.cat([past_values, value], dim=2)
    # Each document's keys behind a copy of its prefix's: one kernel call a segment (or one for all) instead of two
    # whose results would have to be merged.
    keys, values = key.index_select(2, packed.key_rows), value.index_select(2, packed.key_rows)
    longest, bounds = packed.longest, (packed.cumulative_queries, packed.cumulative_keys)
    if varlen.covers(query):
        most = (max(segment.queries for segment in packed.segments), longest)
        return varlen.attend(query, keys, values, *bounds, longest=most, scaling=scaling, window=(-1, 0)), None
    if attention_kernel.covers(query, keys, values, longest=longest):
        attended = attention_kernel.attend(query, keys, values, *bounds, longest=longest, scaling=scaling, causal=True)
        return attended, None
    return _by_segment(query, keys, values, scaling, packed), None


def _by_segment(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float, packed: CausalBatch
) -> torch.Tensor:
    output = query.new_empty(1, query.shape[2], query.shape[1], query.shape[3])
    first = 0
    for segment in packed.segments:
        last = first + segment.keys
        shared = segment.keys > segment.queries
        output[:, segment.start : segment.end] = functional.scaled_dot_product_attention(
            query[:, :, segment.start : segment.end],
            keys[:, :, first:last],
            values[:, :, first:last],
            attn_mask=_mask_of(packed, segment, query.device) if shared else None,
            is_causal=not shared,
            scale=scaling,
            enable_gqa=True,
        ).transpose(1, 2)
        first = last
    return output


def _mask_of(packed: CausalBatch, segment: Segment, device: torch.device) -> torch.Tensor:
    shape = (segment.queries, segment.keys)
    if shape not in packed.masks:
        packed.masks[shape] = _mask(*shape, device)
    return packed.masks[shape]


def _mask(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def _cumulative(lengths: Sequence[int], device: torch.device) -> torch.Tensor:
    return copied(torch.tensor([0, *lengths]).cumsum(0).to(torch.int32), device)
