"""Runs batches of a decoder reranker: a prefix for each request, its documents behind it, the answers' logits alone."""

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional

from reranker_worker.device import copied
from reranker_worker.models.causal_attention import Segment, States, causal_batch
from reranker_worker.models.lora import AdaptedRows, LoraWeights, LowRank, Replacement, adapted_rows, apply_change
from reranker_worker.scoring.model_runner import ModelRunner, OnLayer
from reranker_worker.scoring.prefix_cache import PrefixCache, PrefixKey, PrefixStates, joined
from reranker_worker.serving import ScoringPair

# Qwen3-Reranker-0.6B keeps 112 KiB a token in bf16: about ten prefixes of a hundred tokens.
_CACHED_PREFIX_BYTES = 128 << 20


@dataclass(frozen=True, slots=True)
class PackedPrompts:
    """Pairs as one row of tokens: before documents the prefix that they share, unless its states are kept.

    token_ids, positions: [tokens]; pairs of one adapter lie side by side.
    """

    token_ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    prefixes: dict[PrefixKey, Segment] = field(default_factory=dict)
    """The segments that are prefixes computed in this batch."""
    last_rows: list[int] = field(default_factory=list)
    """The row of each pair's last token, whose next token is the answer."""
    adapted_tokens: list[tuple[slice, LoraWeights]] = field(default_factory=list)
    adapted_pairs: list[tuple[slice, LoraWeights]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class DecoderRunner(ModelRunner):
    """A decoder whose answer to a prompt is read off as the logits of `answers`: positive, then maybe negative."""

    answers: tuple[int, ...]
    prefixes: PrefixCache = field(default_factory=lambda: PrefixCache(_CACHED_PREFIX_BYTES))

    def forward(self, module: nn.Module, pairs: Sequence[ScoringPair], on_layer: OnLayer = None) -> torch.Tensor:
        """Run one packed batch; returns float32 [pairs]."""
        # A copy in another precision has other states.
        cache = self.prefixes if module is self.module else PrefixCache(max_bytes=0)
        kept = {key: states for key in map(_key, pairs) if (states := cache.get(key)) is not None}
        prompts = packed_prompts(pairs, kept)
        self._check_ids(prompts.token_ids)
        computed: dict[PrefixKey, list[States]] = {key: [] for key in prompts.prefixes}
        packed = causal_batch(
            prompts.segments,
            self.device,
            past=joined(list(kept.values())),
            keep=[(segment, computed[key]) for key, segment in prompts.prefixes.items()],
            on_layer=on_layer,
        )
        table = copied(torch.tensor([prompts.token_ids, prompts.positions]), self.device)
        token = adapted_rows.set(prompts.adapted_tokens)
        try:
            states = module.get_submodule(self.family.backbone)(
                input_ids=table[0:1], position_ids=table[1:2], use_cache=False, packed=packed
            ).last_hidden_state
        finally:
            adapted_rows.reset(token)
        for key, layers in computed.items():
            cache.put(key, PrefixStates(layers))
        scored = states[0, copied(torch.tensor(prompts.last_rows), self.device)]
        answers = copied(torch.tensor(self.answers), self.device)
        logits = answer_logits(module, self.family.head[0], scored, answers, prompts.adapted_pairs)
        return logits[:, 0] - logits[:, 1] if len(self.answers) > 1 else logits[:, 0]


def packed_prompts(pairs: Sequence[ScoringPair], kept: Mapping[PrefixKey, PrefixStates]) -> PackedPrompts:
    """Lay pairs out in their order; the keys of `kept` come before those of the row, in the mapping's order."""
    places: dict[PrefixKey, range] = {}
    past = 0
    for key, states in kept.items():
        places[key] = range(past, past + states.tokens)
        past += states.tokens
    prompts = PackedPrompts()
    for i, pair in enumerate(pairs):
        key, first = _key(pair), len(prompts.token_ids)
        if key.token_ids and key not in places:
            prompts.prefixes[key] = _append(prompts, key.token_ids, range(0))
            places[key] = range(past + first, past + len(prompts.token_ids))
        _append(prompts, pair.encoded.token_ids, places.get(key, range(0)))
        prompts.last_rows.append(len(prompts.token_ids) - 1)
        if (weights := _lora(pair)) is not None:
            _extend(prompts.adapted_tokens, first, len(prompts.token_ids), weights)
            _extend(prompts.adapted_pairs, i, i + 1, weights)
    return prompts


def _append(prompts: PackedPrompts, token_ids: Sequence[int], prefix: range) -> Segment:
    segment = Segment(len(prompts.token_ids), len(prompts.token_ids) + len(token_ids), prefix)
    prompts.token_ids.extend(token_ids)
    prompts.positions.extend(range(len(prefix), segment.keys))
    prompts.segments.append(segment)
    return segment


def _extend(spans: list[tuple[slice, LoraWeights]], start: int, end: int, weights: LoraWeights) -> None:
    """Add rows to the last span where they follow it with the same adapter."""
    if spans and spans[-1][0].stop == start and spans[-1][1] is weights:
        start = spans.pop()[0].start
    spans.append((slice(start, end), weights))


def _key(pair: ScoringPair) -> PrefixKey:
    weights = _lora(pair)
    return PrefixKey(tuple(pair.encoded.prefix), None if weights is None else weakref.ref(weights))


def _lora(pair: ScoringPair) -> LoraWeights | None:
    weights = None if pair.adapter is None else pair.adapter.weights
    return weights if isinstance(weights, LoraWeights) else None


def answer_logits(
    module: nn.Module, head: str, states: torch.Tensor, answers: torch.Tensor, adapted: AdaptedRows
) -> torch.Tensor:
    """Return the answers' logits, float32 [pairs, answers]: the only rows of the vocabulary's head that are computed.

    states: [pairs, hidden]; answers: token ids, int64 [answers], on the states' device.
    """
    linear = module.get_submodule(head)
    if not isinstance(linear, nn.Linear):
        raise TypeError(f"{head} is no linear layer but {type(linear).__name__}")
    # Rounded in half precision the answers of many documents are equal.
    states = states.float()
    bias = None if linear.bias is None else linear.bias[answers].float()
    output = functional.linear(states, linear.weight[answers].float(), bias)
    for span, weights in adapted:
        change = weights.changes.get(head)
        if change is not None:
            apply_change(_restricted(change, answers), states[span], output[span])
    return output


def _restricted(change: LowRank | Replacement, rows: torch.Tensor) -> LowRank | Replacement:
    match change:
        case LowRank(down, up):
            return LowRank(down, up[rows])
        case Replacement(weight, bias):
            return Replacement(weight[rows], None if bias is None else bias[rows])
