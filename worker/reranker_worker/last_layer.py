"""The last layer of a BERT-like encoder, computed only for the tokens that the head reads."""

from bisect import bisect_left
from typing import Any

import torch
from torch import nn

from reranker_worker.attention import PackedBatch, first_token_attention
from reranker_worker.lora import AdaptedRows, adapted_rows, adapting


class FirstTokenLayer(nn.Module):
    """Takes a layer's place, its modules and their names with it.

    The same numbers as the layer's own: only keys and values mix tokens, and those are computed for all of them.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention: Any = layer.attention
        self.intermediate: Any = layer.intermediate
        self.output: Any = layer.output

    def forward(self, states: torch.Tensor, *_: object, packed: PackedBatch, **__: object) -> torch.Tensor:
        """Return the states of each pair's first token: [1, tokens, hidden] → [1, pairs, hidden]."""
        attention = self.attention.self
        key, value = (_by_head(linear(states), attention) for linear in (attention.key, attention.value))
        first = states[:, packed.starts]
        with adapting(_pair_rows(adapted_rows.get(), packed.bounds)):
            query = _by_head(attention.query(first), attention)
            mixed = first_token_attention(query, key, value, scaling=attention.scaling, packed=packed)
            attended = self.attention.output(mixed.flatten(2), first)
            output: torch.Tensor = self.output(self.intermediate(attended), attended)
        return output


def _by_head(states: torch.Tensor, attention: Any) -> torch.Tensor:
    """[1, tokens, hidden] → [1, heads, tokens, width]."""
    return states.view(1, states.shape[1], -1, attention.attention_head_size).transpose(1, 2)


def _pair_rows(token_rows: AdaptedRows, bounds: list[int]) -> AdaptedRows:
    """Return the pairs whose tokens have an adapter; an adapter's tokens are those of whole pairs."""
    return [
        (slice(bisect_left(bounds, rows.start), bisect_left(bounds, rows.stop)), weights)
        for rows, weights in token_rows
    ]
