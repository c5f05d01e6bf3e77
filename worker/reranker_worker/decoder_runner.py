"""Runs batches of a decoder reranker: a prefix for each request, its documents behind it, the answers' logits alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from reranker_worker.causal_attention import CausalBatch, Segment, causal_batch
from reranker_worker.lora import AdaptedRows, LoraWeights, LowRank, Replacement, adapted_rows, apply_change
from reranker_worker.model_runner import ModelRunner, OnLayer
from reranker_worker.serving import ScoringPair


@dataclass(frozen=True, slots=True)
class PackedPrompts:
    """Pairs as one row of tokens: each shared prefix once, right before its documents.

    token_ids, positions: [tokens]; pairs of one adapter and of one prefix lie side by side.
    """

    token_ids: list[int]
    positions: list[int]
    segments: list[Segment]
    last_rows: list[int]
    """The row of each pair's last token, whose next token is the answer."""
    tokens_adapted: AdaptedRows
    pairs_adapted: AdaptedRows


@dataclass(frozen=True, slots=True, eq=False)
class DecoderRunner(ModelRunner):
    """A decoder whose answer to a prompt is read off as the logits of `answers`: positive, then maybe negative."""

    answers: tuple[int, ...]

    def forward(self, module: nn.Module, pairs: Sequence[ScoringPair], on_layer: OnLayer = None) -> torch.Tensor:
        """Run one packed batch; returns float32 [pairs]."""
        prompts = packed_prompts(pairs)
        self._check_ids(prompts.token_ids)
        table = self._to_device(torch.tensor([prompts.token_ids, prompts.positions]))
        packed: CausalBatch = causal_batch(prompts.segments, self.device, on_layer)
        token = adapted_rows.set(prompts.tokens_adapted)
        try:
            states = module.get_submodule(self.family.backbone)(
                input_ids=table[0:1], position_ids=table[1:2], use_cache=False, packed=packed
            ).last_hidden_state
        finally:
            adapted_rows.reset(token)
        scored = states[0, self._to_device(torch.tensor(prompts.last_rows))]
        logits = answer_logits(module, self.family.head[0], scored, self.answers, prompts.pairs_adapted).float()
        return logits[:, 0] - logits[:, 1] if len(self.answers) > 1 else logits[:, 0]


def packed_prompts(pairs: Sequence[ScoringPair]) -> PackedPrompts:
    """Lay pairs out; pairs that may share a prefix must already lie side by side."""
    ids: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    last_rows: list[int] = []
    tokens_adapted: list[tuple[slice, LoraWeights]] = []
    pairs_adapted: list[tuple[slice, LoraWeights]] = []
    prefix = Segment(0, 0)
    for i, pair in enumerate(pairs):
        row = len(ids)
        if i == 0 or pair.sharing != pairs[i - 1].sharing:
            shared = pair.encoded.prefix
            ids += shared
            positions += range(len(shared))
            prefix = Segment(row, len(ids))
            segments += [prefix] if shared else []
        start = len(ids)
        ids += pair.encoded.token_ids
        positions += range(prefix.queries, prefix.queries + len(pair.encoded))
        segments.append(Segment(start, len(ids), prefix.start, prefix.end))
        last_rows.append(len(ids) - 1)
        if pair.adapter is not None and isinstance(pair.adapter.weights, LoraWeights):
            _extend(tokens_adapted, row, len(ids), pair.adapter.weights)
            _extend(pairs_adapted, i, i + 1, pair.adapter.weights)
    return PackedPrompts(ids, positions, segments, last_rows, tuple(tokens_adapted), tuple(pairs_adapted))


def answer_logits(
    module: nn.Module, head: str, states: torch.Tensor, answers: Sequence[int], adapted: AdaptedRows
) -> torch.Tensor:
    """Return the answers' logits, [pairs, answers]: the only rows of the vocabulary's head that are computed.

    states: [pairs, hidden].
    """
    linear = module.get_submodule(head)
    if not isinstance(linear, nn.Linear):
        raise TypeError(f"{head} is no linear layer but {type(linear).__name__}")
    rows = list(answers)
    output = functional.linear(states, linear.weight[rows], None if linear.bias is None else linear.bias[rows])
    for span, weights in adapted:
        change = weights.changes.get(head)
        if change is not None:
            apply_change(_restricted(change, rows), states[span], output[span])
    return output


def _restricted(change: LowRank | Replacement, rows: list[int]) -> LowRank | Replacement:
    match change:
        case LowRank(down, up):
            return LowRank(down, up[rows])
        case Replacement(weight, bias):
            return Replacement(weight[rows], None if bias is None else bias[rows])


def _extend(spans: list[tuple[slice, LoraWeights]], start: int, end: int, weights: LoraWeights) -> None:
    """Add rows to the last span where they follow it with the same adapter."""
    if spans and spans[-1][0].stop == start and spans[-1][1] is weights:
        start = spans.pop()[0].start
    spans.append((slice(start, end), weights))
