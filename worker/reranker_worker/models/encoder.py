"""The network of BERT and its like for packed batches, with the modules' published names.

Written out, since importing transformers' own takes longer than all the rest of a worker's start, and since the last
layer is computed only for the tokens that the head reads. The tests hold its scores to transformers'.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self, cast

import torch
from torch import nn
from torch.nn import functional

from reranker_worker.kernels.int8_rows import Int8Rows
from reranker_worker.kernels.residual_norm import residual_norm
from reranker_worker.models.attention import (
    PackedBatch,
    first_token_attention,
    first_token_attention_to_states,
    packed_attention,
    reads_states,
)
from reranker_worker.models.lora import AdaptedLinear, AdaptedRows, adapted_rows, adapting

_GELUS = {"gelu": "none", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
"""Names of config.json for GELU, and torch's for how it is approximated."""
_OTHERS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {"relu": functional.relu, "silu": functional.silu}


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """What config.json says of the network; members that files may leave out have transformers' values."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    max_position_embeddings: int
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    embedding_size: int | None = None

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Read config.json's members; raises ValueError for one that means nothing here."""
        config = cls(**{field.name: content[field.name] for field in fields(cls) if field.name in content})
        for name in ("type_vocab_size", "embedding_size"):
            value = getattr(config, name)
            if not (isinstance(value, int) and value > 0) and (name, value) != ("embedding_size", None):
                raise ValueError(f"{name} is {str(value)[:100]!r}")
        if not isinstance(config.layer_norm_eps, float) or not 0 < config.layer_norm_eps < 1:
            raise ValueError(f"layer_norm_eps is {str(config.layer_norm_eps)[:100]!r}")
        if config.hidden_act not in {*_GELUS, *_OTHERS}:
            accepted = ", ".join([*_GELUS, *_OTHERS])
            raise ValueError(f"hidden_act is {str(config.hidden_act)[:100]!r}; accepted: {accepted}")
        return config


class Encoded(NamedTuple):
    """The states that the head reads, [1, pairs, hidden]; named as transformers' networks name theirs."""

    last_hidden_state: torch.Tensor


class Encoder(nn.Module):
    """Embeddings and layers."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.embeddings = Embeddings(config)
        width = config.embedding_size or config.hidden_size
        self.embeddings_project = nn.Linear(width, config.hidden_size) if width != config.hidden_size else None
        layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.encoder = nn.ModuleDict({"layer": layers})

    def forward(
        self, input_ids: torch.Tensor, position_ids: torch.Tensor, token_type_ids: torch.Tensor, packed: PackedBatch
    ) -> Encoded:
        """Return the states of each pair's first token."""
        states = self.embeddings(input_ids, position_ids, token_type_ids)
        if self.embeddings_project is not None:
            states = self.embeddings_project(states)
        *layers, last = cast("Sequence[Layer]", self.encoder["layer"])
        for layer in layers:
            states = layer(states, packed)
        return Encoded(last.of_first_tokens(states, packed))


class Embeddings(nn.Module):
    """Words, positions and types, summed and normed."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        width = config.embedding_size or config.hidden_size
        self.word_embeddings = _table(config.vocab_size, width)
        self.position_embeddings = _table(config.max_position_embeddings, width)
        self.token_type_embeddings = _table(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(
        self, input_ids: torch.Tensor, position_ids: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """[1, tokens] → [1, tokens, width]."""
        states = self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)
        return residual_norm(states, self.position_embeddings(position_ids), self.LayerNorm)


class Layer(nn.Module):
    """Attention and two linear layers, each added to what came in and normed."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Residual(config.intermediate_size, config.hidden_size, config.layer_norm_eps)

    def forward(self, states: torch.Tensor, packed: PackedBatch) -> torch.Tensor:
        """[1, tokens, hidden] → [1, tokens, hidden]."""
        return self._mixed(self.attention.self(states, packed), states)

    def of_first_tokens(self, states: torch.Tensor, packed: PackedBatch) -> torch.Tensor:
        """Return the layer's states of each pair's first token alone: [1, tokens, hidden] → [1, pairs, hidden].

        The same numbers: only attention mixes tokens.
        """
        rows = _pair_rows(adapted_rows.get(), packed.bounds)
        mixed = self.attention.self.of_first_tokens(states, packed, rows)
        with adapting(rows):
            return self._mixed(mixed, states[:, packed.starts])

    def _mixed(self, mixed: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        attended = self.attention.output(mixed, states)
        output: torch.Tensor = self.output(self.intermediate(attended), attended)
        return output


class Attention(nn.Module):
    """Where the published names put the two halves of attention."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Residual(config.hidden_size, config.hidden_size, config.layer_norm_eps)


class Intermediate(nn.Module):
    """The wide linear layer and its activation."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = AdaptedLinear(config.hidden_size, config.intermediate_size)
        self.activation = config.hidden_act

    def forward(self, states: torch.Tensor) -> torch.Tensor | Int8Rows:
        """[1, tokens, hidden] → [1, tokens, intermediate]."""
        if self.activation in _GELUS:
            return self.dense.with_gelu(states, _GELUS[self.activation])
        return _OTHERS[self.activation](self.dense(states))


class SelfAttention(nn.Module):
    """Queries, keys and values of all heads, and attention within each pair."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.query, self.key, self.value = (AdaptedLinear(hidden, hidden) for _ in range(3))
        self.head_width = hidden // config.num_attention_heads
        self.scaling = self.head_width**-0.5

    def forward(self, states: torch.Tensor, packed: PackedBatch) -> torch.Tensor:
        """[1, tokens, hidden] → [1, tokens, hidden]."""
        prepared = self.query.prepared(states)
        query, key, value = (self._by_head(linear(prepared)) for linear in (self.query, self.key, self.value))
        mixed, _ = packed_attention(self, query, key, value, None, scaling=self.scaling, packed=packed)
        return mixed.flatten(2)

    def of_first_tokens(self, states: torch.Tensor, packed: PackedBatch, rows: AdaptedRows) -> torch.Tensor:
        """Attend from each pair's first token, [1, tokens, hidden] → [1, pairs, hidden]; `rows` are adapted pairs."""
        with adapting(rows):
            query = self._by_head(self.query(states[:, packed.starts]))
        if reads_states(states, packed) and not (self.key.is_adapted or self.value.is_adapted):
            weights = self.key.numbers(), self.value.numbers()
            mixed = first_token_attention_to_states(query, states, *weights, scaling=self.scaling, packed=packed)
            return mixed if self.value.bias is None else mixed + self.value.bias
        prepared = self.key.prepared(states)
        key, value = (self._by_head(linear(prepared)) for linear in (self.key, self.value))
        return first_token_attention(query, key, value, scaling=self.scaling, packed=packed).flatten(2)

    def _by_head(self, states: torch.Tensor) -> torch.Tensor:
        """[1, tokens, hidden] → [1, heads, tokens, width]."""
        return states.view(1, states.shape[1], -1, self.head_width).transpose(1, 2)


class Residual(nn.Module):
    """A linear layer whose output is added to a residual and normed."""

    def __init__(self, wide: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.dense = AdaptedLinear(wide, hidden)
        self.LayerNorm = nn.LayerNorm(hidden, eps=eps)

    def forward(self, states: torch.Tensor | Int8Rows, residual: torch.Tensor) -> torch.Tensor:
        """[1, tokens, wide], [1, tokens, hidden] → [1, tokens, hidden]."""
        return residual_norm(self.dense(states), residual, self.LayerNorm)


def _table(rows: int, width: int) -> nn.Embedding:
    # Drawing normal numbers on the meta device, as the plain constructor does, imports torch's compiler: two seconds.
    return nn.Embedding(rows, width, _weight=torch.empty(rows, width))


def _pair_rows(token_rows: AdaptedRows, bounds: list[int]) -> AdaptedRows:
    """Return the pairs whose tokens have an adapter; an adapter's tokens are those of whole pairs."""
    return [
        (slice(bisect_left(bounds, rows.start), bisect_left(bounds, rows.stop)), weights)
        for rows, weights in token_rows
    ]
