"""Runs batches of one model: packs pairs into a row, runs the network, and scores again what failed alone."""

import copy
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain

import torch
from torch import nn

from reranker_worker.device import copied
from reranker_worker.device_faults import faults, in_memory
from reranker_worker.models.attention import PackedBatch
from reranker_worker.models.families import Family
from reranker_worker.models.int8 import Int8Linear
from reranker_worker.models.lora import AdaptedRows, LoraWeights, adapting
from reranker_worker.models.prepacked import filled_up, plain
from reranker_worker.scoring.batch_room import BatchRoom
from reranker_worker.serving import PairFailure, RunningBatch, ScoringPair

# Measured on CPUs: throughput is flat between 2,048 and 4,096 tokens and falls behind; the smaller keeps waits short.
_CPU_BATCH_TOKENS = 2048

OnLayer = Callable[[], None] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Pairs that were run together; logits: float32 [pairs] once the device is done, None where they didn't fit."""

    pairs: list[ScoringPair]
    logits: torch.Tensor | None


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

    room: BatchRoom = field(default_factory=BatchRoom, kw_only=True)

    @property
    def max_batch_tokens(self) -> int:
        """Return the most tokens that a batch should hold on this device."""
        seen = self.room.most_tokens
        return min(_CPU_BATCH_TOKENS, seen) if self.device.type == "cpu" else seen

    def score(self, pairs: Sequence[ScoringPair], on_layer: OnLayer = None) -> list[float | PairFailure]:
        """Return each pair's logit, or why it has none; raises DeviceFault when the device is lost."""
        return self.begin(pairs, on_layer).outcomes()

    def begin(self, pairs: Sequence[ScoringPair], on_layer: OnLayer = None) -> RunningBatch:
        """Tell the device to score pairs; raises DeviceFault when it is lost."""
        # Pairs of one adapter lie side by side, so each adapter's rows are one slice.
        order = sorted(range(len(pairs)), key=lambda i: id(pairs[i].adapter) if pairs[i].adapter else 0)
        running = self._begun(self.module, [pairs[i] for i in order], on_layer)

        def outcomes() -> list[float | PairFailure]:
            placed: list[float | PairFailure] = [0.0] * len(order)
            for i, outcome in zip(order, running.outcomes(), strict=True):
                placed[i] = outcome
            return placed

        return RunningBatch(running.is_done, outcomes)

    def _begun(self, module: nn.Module, pairs: list[ScoringPair], on_layer: OnLayer) -> RunningBatch:
        with torch.inference_mode(), faults(self.device):
            parts = self._parts(module, pairs, on_layer)
            scored = _mark(self.device)
        if len(parts) > 1 and module is self.module:
            fitted = max((_tokens(part.pairs) for part in parts if part.logits is not None), default=0)
            self.room.note_split(_tokens(pairs), fitted)

        def is_done() -> bool:
            with faults(self.device):
                return scored is None or bool(scored.query())  # type: ignore[no-untyped-call]

        def outcomes() -> list[float | PairFailure]:
            if scored is not None:
                with faults(self.device):
                    scored.synchronize()
            return [outcome for part in parts for outcome in self._outcomes(module, part, on_layer)]

        return RunningBatch(is_done, outcomes)

    def _parts(self, module: nn.Module, pairs: list[ScoringPair], on_layer: OnLayer) -> list[_Part]:
        """Run pairs in as many parts as the device's memory asks for."""
        logits = self._forward_in_memory(module, pairs, on_layer)
        if logits is not None or len(pairs) == 1:
            return [_Part(pairs, logits)]
        middle = len(pairs) // 2
        return [part for half in (pairs[:middle], pairs[middle:]) for part in self._parts(module, half, on_layer)]

    def _outcomes(self, module: nn.Module, part: _Part, on_layer: OnLayer) -> list[float | PairFailure]:
        """Read a part's logits; those that aren't finite are computed again in fp32."""
        if part.logits is None:
            return [PairFailure("OutOfMemory") for _ in part.pairs]
        outcomes: list[float | PairFailure] = list(part.logits.tolist())
        bad = (~part.logits.isfinite()).nonzero().flatten().tolist()
        if bad:
            again = self._in_full_precision(module, [part.pairs[i] for i in bad], on_layer)
            for i, outcome in zip(bad, again, strict=True):
                outcomes[i] = outcome
        return outcomes

    def _in_full_precision(
        self, module: nn.Module, pairs: list[ScoringPair], on_layer: OnLayer
    ) -> list[float | PairFailure]:
        """Score pairs whose logits weren't finite in fp32, with a copy that lives only for this call."""
        if next(module.parameters()).dtype is torch.float32:
            return [PairFailure("NonFinite") for _ in pairs]
        widened = in_memory(lambda: full_precision(module))
        if widened is None:
            return [PairFailure("Overflow") for _ in pairs]
        outcomes = self._begun(widened, pairs, on_layer).outcomes()
        return [PairFailure("Overflow") if each == PairFailure("OutOfMemory") else each for each in outcomes]

    def _forward_in_memory(
        self, module: nn.Module, pairs: Sequence[ScoringPair], on_layer: OnLayer
    ) -> torch.Tensor | None:
        """Return where the logits will be on the CPU, or None when the device has no memory for this batch."""
        return in_memory(lambda: self.forward(module, pairs, on_layer).to("cpu", non_blocking=True))

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
            scored = self._scored_states(module, states, packed).float().unsqueeze(1)
            for path in self.family.head:
                scored = module.get_submodule(path)(scored)
        return scored.flatten()

    def _scored_states(self, module: nn.Module, states: torch.Tensor, packed: PackedBatch) -> torch.Tensor:
        """Return what the head reads of each pair; [1, tokens, hidden] → [pairs, hidden]."""
        if self.family.is_own:
            return states[0]  # its last layer has computed the first tokens alone
        if self.family.pooling is not None and getattr(module.config, self.family.pooling) == "mean":
            lengths = packed.cumulative.diff().to(torch.int64)
            own = states[0, : packed.bounds[-1]].float()
            # "Unsafe" is that lengths aren't checked, for which a GPU would have to be waited for.
            return torch.segment_reduce(own, "mean", lengths=lengths, unsafe=True)
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
        table = copied(torch.frombuffer(rows, dtype=torch.int64).view(3, -1), self.device)
        edges = copied(torch.tensor(bounds), self.device)
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


def _tokens(pairs: Sequence[ScoringPair]) -> int:
    return sum(len(pair.encoded) for pair in pairs)


def _mark(device: torch.device) -> torch.cuda.Event | None:
    """Return what tells when a GPU has done all that it was told so far; a CPU has."""
    if device.type == "cpu":
        return None
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event


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
