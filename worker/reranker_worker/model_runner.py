"""Runs batches of one model: packs pairs into a row, runs the network, and scores again what failed alone."""

import copy
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import nn

from reranker_worker.attention import PackedBatch
from reranker_worker.errors import DeviceFault
from reranker_worker.families import Family
from reranker_worker.int8 import Int8Linear
from reranker_worker.lora import AdaptedRows, LoraWeights, adapting
from reranker_worker.prepacked import filled_up, plain
from reranker_worker.serving import PairFailure, ScoringPair

# Measured on CPUs: throughput is flat between 2,048 and 4,096 tokens and falls behind; the smaller keeps waits short.
_CPU_BATCH_TOKENS = 2048
_UNBOUNDED = 2**31

OnLayer = Callable[[], None] | None


@dataclass(frozen=True, slots=True, eq=False)
class ModelRunner:
    """One network on one device; it holds nothing of a batch, so a probe may run beside the device thread."""

    module: nn.Module
    family: Family
    device: torch.device
    dtype: torch.dtype
    vocab_size: int
    pad_token_id: int
    fills_up: bool = field(default=False, kw_only=True)
    """Whether a batch's row is made one of few lengths by tokens of no pair, whose states nothing reads."""

    @property
    def max_batch_tokens(self) -> int:
        """Return the most tokens that a batch should hold on this device."""
        return _CPU_BATCH_TOKENS if self.device.type == "cpu" else _UNBOUNDED

    def score(self, pairs: Sequence[ScoringPair], on_layer: OnLayer = None) -> list[float | PairFailure]:
        """Return each pair's logit, or why it has none; raises DeviceFault when the device is lost."""
        # Pairs of one adapter lie side by side, so each adapter's rows are one slice.
        order = sorted(range(len(pairs)), key=lambda i: id(pairs[i].adapter) if pairs[i].adapter else 0)
        outcomes: list[float | PairFailure] = [0.0] * len(pairs)
        with torch.inference_mode():
            ordered = self._logits_or_failures(self.module, [pairs[i] for i in order], on_layer)
        for i, outcome in zip(order, ordered, strict=True):
            outcomes[i] = outcome
        return outcomes

    def _logits_or_failures(
        self, module: nn.Module, pairs: list[ScoringPair], on_layer: OnLayer
    ) -> list[float | PairFailure]:
        logits = self._forward_in_memory(module, pairs, on_layer)
        if logits is None and len(pairs) == 1:
            return [PairFailure("OutOfMemory")]
        if logits is None:
            middle = len(pairs) // 2
            halves = (pairs[:middle], pairs[middle:])
            return [outcome for half in halves for outcome in self._logits_or_failures(module, half, on_layer)]
        bad = (~logits.isfinite()).nonzero().flatten().tolist()
        outcomes: list[float | PairFailure] = list(logits.tolist())
        if bad:
            again = self._in_full_precision(module, [pairs[i] for i in bad], on_layer)
            for i, outcome in zip(bad, again, strict=True):
                outcomes[i] = outcome
        return outcomes

    def _in_full_precision(
        self, module: nn.Module, pairs: list[ScoringPair], on_layer: OnLayer
    ) -> list[float | PairFailure]:
        """Score pairs whose logits weren't finite in fp32, with a copy that lives only for this call."""
        if next(module.parameters()).dtype is torch.float32:
            return [PairFailure("NonFinite") for _ in pairs]
        return self._logits_or_failures(full_precision(module), pairs, on_layer)

    def _forward_in_memory(
        self, module: nn.Module, pairs: Sequence[ScoringPair], on_layer: OnLayer
    ) -> torch.Tensor | None:
        """Return the logits on the CPU, or None when the device has no memory for this batch."""
        try:
            return self.forward(module, pairs, on_layer).cpu()
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
        except torch.AcceleratorError as error:
            raise DeviceFault("DeviceFault", f"{self.device} is lost, the process must be replaced: {error}") from error
        except RuntimeError as error:
            # The CPU's allocator has no exception of its own.
            if "can't allocate memory" not in str(error):
                raise
        return None

    def forward(self, module: nn.Module, pairs: Sequence[ScoringPair], on_layer: OnLayer = None) -> torch.Tensor:
        """Run one packed batch; returns float32 [pairs]."""
        packed = self.pack(pairs, on_layer)
        tokens, rows = _adapted(pairs, packed.bounds)
        backbone = module.get_submodule(self.family.backbone)
        with adapting(tokens):
            states = backbone(
                input_ids=packed.input_ids,
                position_ids=packed.position_ids,
                token_type_ids=packed.type_ids,
                packed=packed,
            ).last_hidden_state
        with adapting(rows):
            # Heads read the first token of each row: a row for each pair holds exactly the state to be scored.
            scored = self._scored_states(module, states, packed).unsqueeze(1)
            for path in self.family.head:
                scored = module.get_submodule(path)(scored)
        return scored.float().flatten()

    def _scored_states(self, module: nn.Module, states: torch.Tensor, packed: PackedBatch) -> torch.Tensor:
        """Return what the head reads of each pair; [1, tokens, hidden] → [pairs, hidden]."""
        if self.family.is_own:
            return states[0]  # its last layer has computed the first tokens alone
        if self.family.pooling is not None and getattr(module.config, self.family.pooling) == "mean":
            lengths = packed.cumulative.diff().to(torch.int64)
            own = states[0, : packed.bounds[-1]].float()
            return torch.segment_reduce(own, "mean", lengths=lengths).to(states.dtype)
        return states[0, packed.starts]

    def pack(self, pairs: Sequence[ScoringPair], on_layer: OnLayer = None) -> PackedBatch:
        """Return the pairs as one row of tokens on the device."""
        bounds = [0]
        for pair in pairs:
            bounds.append(bounds[-1] + len(pair.encoded))
        ids = list(chain.from_iterable(pair.encoded.token_ids for pair in pairs))
        self._check_ids(ids)
        positions = chain.from_iterable(self._positions(pair.encoded.token_ids) for pair in pairs)
        types = chain.from_iterable(pair.encoded.type_ids for pair in pairs)
        # Zeros: a token, a position and a type that every model has.
        filling = [0] * (filled_up(len(ids)) - len(ids) if self.fills_up else 0)
        rows = array("q", [*ids, *filling, *positions, *filling, *types, *filling])
        table = self._to_device(torch.frombuffer(rows, dtype=torch.int64).view(3, -1))
        edges = self._to_device(torch.tensor(bounds))
        return PackedBatch(
            input_ids=table[0:1],
            position_ids=table[1:2],
            type_ids=table[2:3],
            starts=edges[:-1],
            cumulative=edges.to(torch.int32),
            bounds=bounds,
            on_layer=on_layer,
        )

    def _check_ids(self, ids: list[int]) -> None:
        if max(ids) >= self.vocab_size:
            # On CUDA an index beyond the table would poison the process.
            raise RuntimeError(f"token id {max(ids)} is outside the vocabulary of {self.vocab_size}")

    def _positions(self, ids: list[int]) -> Sequence[int]:
        if not self.family.positions_follow_padding:
            return range(len(ids))
        pad = self.pad_token_id
        if pad not in ids:
            return range(pad + 1, pad + 1 + len(ids))
        # A text may spell the padding token; fairseq's positions stand still there.
        positions, last = [], pad
        for token in ids:
            last += token != pad
            positions.append(pad if token == pad else last)
        return positions

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)


def full_precision(module: nn.Module) -> nn.Module:
    """Return a copy in fp32, its weights as they were before they were laid out; of int8 what they stand for."""
    # The memo makes the copy share nothing with the module that other batches read, and casts each weight once.
    widened: dict[int, nn.Module | nn.Parameter] = {
        id(layer): layer.in_numbers() for layer in module.modules() if isinstance(layer, Int8Linear)
    }
    for weight in module.parameters():
        widened.setdefault(id(weight), nn.Parameter(plain(weight).float(), requires_grad=False))
    return copy.deepcopy(module, widened)


def _adapted(pairs: Sequence[ScoringPair], bounds: list[int]) -> tuple[AdaptedRows, AdaptedRows]:
    """Return the rows of tokens and the rows of pairs that have an adapter; equal adapters lie side by side."""
    tokens: list[tuple[slice, LoraWeights]] = []
    rows: list[tuple[slice, LoraWeights]] = []
    start = 0
    for end in range(1, len(pairs) + 1):
        adapter = pairs[start].adapter
        if end < len(pairs) and pairs[end].adapter is adapter:
            continue
        if adapter is not None and isinstance(adapter.weights, LoraWeights):
            tokens.append((slice(bounds[start], bounds[end]), adapter.weights))
            rows.append((slice(start, end), adapter.weights))
        start = end
    return tuple(tokens), tuple(rows)
