"""DeBERTa-v2 and v3 for packed batches: disentangled attention within each pair, without padding.

Imported by a family's row only, since it needs transformers' modules to begin with.
"""

import math
from collections.abc import Iterator
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.deberta_v2 import modeling_deberta_v2 as deberta_v2
from transformers.models.deberta_v2.configuration_deberta_v2 import DebertaV2Config

from reranker_worker.device import copied
from reranker_worker.models.attention import PackedBatch
from reranker_worker.models.lora import LoraWeights, adapted_rows, adapting

__all__ = ["DebertaV2Config", "DebertaV2ForSequenceClassification"]


class DebertaV2ForSequenceClassification(deberta_v2.DebertaV2ForSequenceClassification):
    """The published modules by their published names, around a backbone that takes packed batches."""

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        self.deberta = PackedDebertaV2Model(config)


class PackedDebertaV2Model(deberta_v2.DebertaV2Model):
    """The backbone, with attention that knows where pairs begin and end."""

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config)
        layers: Any = self.encoder.layer
        for layer in layers:
            layer.attention.self = PackedDisentangledAttention(config)

    def forward(
        self, input_ids: torch.Tensor, position_ids: torch.Tensor, token_type_ids: torch.Tensor, packed: PackedBatch
    ) -> BaseModelOutput:
        """Return all tokens' states, [1, tokens, hidden]."""
        states = self.embeddings(input_ids=input_ids, position_ids=position_ids, token_type_ids=token_type_ids)
        distances = self._distances(packed.longest, states.device)
        positions = self.encoder.get_rel_embedding()
        for layer in self.encoder.layer:
            # Where the padded layer has a mask, the packed one has the pairs' bounds.
            states, _ = layer(states, packed, relative_pos=distances, rel_embeddings=positions)
        return BaseModelOutput(last_hidden_state=states)

    def _distances(self, longest: int, device: torch.device) -> torch.Tensor:
        """Return the row of the position table for each distance from 1 - longest to longest - 1."""
        # Made on the CPU: transformers' buckets copy a number to the distances' device, and a GPU is waited for there.
        distances: torch.Tensor = torch.arange(1 - longest, longest)
        span = self.encoder.max_relative_positions
        if self.encoder.position_buckets > 0:
            distances = deberta_v2.make_log_bucket_position(distances, self.encoder.position_buckets, span)
            span = self.encoder.position_buckets
        return copied((distances.long() + span).clamp(0, 2 * span - 1), device)


class PackedDisentangledAttention(deberta_v2.DisentangledSelfAttention):
    """Content to content, content to position and position to content, summed and scaled as one.

    A bias depends on two tokens' distance alone, so it is computed once per token and distance and read off skewed.
    """

    def forward(  # type: ignore[override]  # its mask and positions are of another kind
        self,
        hidden_states: torch.Tensor,
        attention_mask: PackedBatch,
        output_attentions: bool = False,  # noqa: ARG002 - transformers' signature
        query_states: torch.Tensor | None = None,  # noqa: ARG002
        *,
        relative_pos: torch.Tensor,
        rel_embeddings: torch.Tensor,
    ) -> tuple[torch.Tensor, None]:
        """Attend within each pair; hidden_states: [1, tokens, hidden], and so is what is returned.

        relative_pos: the row of `rel_embeddings` for each distance, from the most negative on.
        """
        packed = attention_mask
        if packed.on_layer is not None:
            packed.on_layer()
        query, key, value = (
            self._by_head(linear(hidden_states[0])) for linear in (self.query_proj, self.key_proj, self.value_proj)
        )
        scale = 1 / math.sqrt(query.shape[-1] * (1 + len({"c2p", "p2c"} & set(self.pos_att_type))))
        output = torch.zeros_like(query)
        tables = self._position_tables(rel_embeddings, relative_pos, packed)
        for (start, end), (position_key, position_query) in zip(pairwise(packed.bounds), tables, strict=True):
            pair = slice(start, end)
            bias = _bias(query[:, pair], key[:, pair], position_key, position_query)
            output[:, pair] = functional.scaled_dot_product_attention(
                query[None, :, pair],
                key[None, :, pair],
                value[None, :, pair],
                attn_mask=None if bias is None else bias[None] * scale,
                scale=scale,
            )[0]
        return output.transpose(0, 1).flatten(1)[None], None

    def _position_tables(
        self, positions: torch.Tensor, distances: torch.Tensor, packed: PackedBatch
    ) -> Iterator[tuple[torch.Tensor | None, torch.Tensor | None]]:
        """Return for each pair the keys and the queries of its distances, [heads, 2 * tokens - 1, width] each.

        Adapters change the layers that project positions too, so each adapter's pairs have tables of their own.
        """
        adapted = adapted_rows.get()

        def adapter(pair: tuple[int, int]) -> LoraWeights | None:
            return next((weights for rows, weights in adapted if rows.start <= pair[0] < rows.stop), None)

        for weights, pairs in groupby(pairwise(packed.bounds), adapter):
            with adapting([] if weights is None else [(slice(None), weights)]):
                key, query = (self._projected(linear, positions, distances) for linear in self._position_linears())
            for start, end in pairs:
                # A shorter pair's distances are those in the middle.
                middle = slice(packed.longest - (end - start), packed.longest + (end - start) - 1)
                yield (None if key is None else key[:, middle], None if query is None else query[:, middle])

    def _position_linears(self) -> tuple[nn.Module | None, nn.Module | None]:
        """Return what projects positions to keys and to queries, where the model has such scores."""
        key, query = "c2p" in self.pos_att_type, "p2c" in self.pos_att_type
        if self.share_att_key:
            return (self.key_proj if key else None, self.query_proj if query else None)
        return (self.pos_key_proj if key else None, self.pos_query_proj if query else None)

    def _projected(
        self, linear: nn.Module | None, positions: torch.Tensor, distances: torch.Tensor
    ) -> torch.Tensor | None:
        if linear is None:
            return None
        # Whichever is the smaller matrix: the table, or a row for each distance.
        if len(distances) < len(positions):
            return self._by_head(linear(positions[distances]))
        return self._by_head(linear(positions)[distances])

    def _by_head(self, states: torch.Tensor) -> torch.Tensor:
        """[tokens, hidden] → [heads, tokens, width]."""
        return states.view(len(states), self.num_attention_heads, -1).transpose(0, 1)


def _bias(
    query: torch.Tensor, key: torch.Tensor, position_key: torch.Tensor | None, position_query: torch.Tensor | None
) -> torch.Tensor | None:
    """Return what position adds to the scores of one pair's tokens, [heads, tokens, tokens]."""
    bias = None
    if position_key is not None:
        bias = _skewed(query @ position_key.flip(1).transpose(1, 2))
    if position_query is not None:
        from_position = _skewed(key @ position_query.transpose(1, 2)).transpose(1, 2)
        bias = from_position if bias is None else bias + from_position
    return bias


def _skewed(scores: torch.Tensor) -> torch.Tensor:
    """Return a view whose [h, i, j] is [h, i, j - i + n - 1] of the scores; [heads, n, 2n - 1] → [heads, n, n]."""
    heads, tokens, width = scores.shape
    scores = scores.contiguous()
    return scores.as_strided(
        (heads, tokens, tokens), (tokens * width, width - 1, 1), scores.storage_offset() + tokens - 1
    )
