"""What a worker serves and what a score request is: frozen data. No I/O, no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

DType = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Scores = Literal["sigmoid", "raw"]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings that change a model's scores; a revision's name covers them."""

    dtype: DType = "auto"
    max_length: int = 512
    scores: Scores = "sigmoid"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is computed at once and how much may wait, in tokens of query and document together."""

    max_batch_tokens: int = 16384
    max_queue_tokens: int = 400_000


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """One query and document as the model reads them, special tokens included.

    `prefix` is what a decoder reads before these tokens; the pairs of one query share one list of it.
    `truncated` tells whether a part of the document is missing.
    """

    token_ids: list[int]
    type_ids: list[int]
    prefix: Sequence[int] = ()
    truncated: bool = False

    def __len__(self) -> int:
        return len(self.token_ids)


@dataclass(frozen=True, slots=True)
class Truncation:
    """What becomes of a document that is too long.

    max_tokens: where it is cut before the model's own length cuts it.
    pair_tokens: how long it may be together with the query and the special tokens.
    side: which end of it goes.
    refused: nothing is cut; the request is refused instead.
    """

    max_tokens: int | None = None
    pair_tokens: int | None = None
    side: Literal["left", "right"] = "right"
    refused: bool = False

    def pair_length(self, max_length: int) -> int:
        """Return how many tokens a pair may have on a model that takes `max_length`."""
        return min(max_length, max_length if self.pair_tokens is None else self.pair_tokens)


CUT_AT_THE_END = Truncation()


@dataclass(frozen=True, slots=True)
class Queue:
    """What is admitted and not yet scored, and the most tokens that may be."""

    pairs: int
    tokens: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class LoadedAdapter:
    """A LoRA adapter in memory, checked by a scoring probe on the model that it was loaded for."""

    name: str
    revision: str
    weights: object
    """Its immutable tensors; a runner reads them from the batch and never keeps them."""


@dataclass(frozen=True, slots=True)
class ScoringPair:
    """A pair and the adapter that scores it; without one, the model alone does."""

    encoded: EncodedPair
    adapter: LoadedAdapter | None = None


@dataclass(frozen=True, slots=True)
class PairFailure:
    """Why a pair has no score: `NonFinite` in fp32 too, `OutOfMemory` by itself, or `Overflow`.

    Overflow: it isn't finite in the model's precision, and there is no memory to score it in fp32.
    """

    reason: Literal["NonFinite", "OutOfMemory", "Overflow"]


@dataclass(frozen=True, slots=True)
class RunningBatch:
    """A batch that a device has been told to score."""

    is_done: Callable[[], bool]
    """Tells whether `outcomes` needn't wait: a CPU has scored it by now, a GPU may be at it."""
    outcomes: Callable[[], list[float | PairFailure]]
    """Waits for each pair's logit, or why it has none; raises DeviceFault when the device is lost."""


class Runner(Protocol):
    """Scores batches of pairs of one model on its device, in the order in which they were begun."""

    def begin(self, pairs: Sequence[ScoringPair], on_layer: Callable[[], None] | None = None) -> RunningBatch:
        """Tell the device to score pairs; calls `on_layer` as a sign of life, raises DeviceFault."""
        ...

    def score(
        self, pairs: Sequence[ScoringPair], on_layer: Callable[[], None] | None = None
    ) -> list[float | PairFailure]:
        """Return each pair's logit, or why it has none, as soon as the device has them."""
        ...

    @property
    def max_batch_tokens(self) -> int:
        """Return the most tokens a batch should hold on this device, whatever the limits allow."""
        ...


class PairTokenizer(Protocol):
    """Encodes a query against documents as the model was trained to read them."""

    def encode_query(self, query: str, instruction: str | None = None) -> list[int]:
        """Return what `encode_pairs` needs of the query: its token ids, or a decoder's whole prefix.

        A model that was trained without instructions reads none.
        """
        ...

    def encode_pairs(
        self, query_ids: list[int], documents: Sequence[str], truncation: Truncation = CUT_AT_THE_END
    ) -> list[EncodedPair]:
        """Return a pair for each document, the document cut to what fits and is allowed."""
        ...


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class LoadedModel:
    """A model in memory, warmed up by a real scoring pass with finite scores."""

    revision: str
    runner: Runner
    tokenizer: PairTokenizer
    settings: EngineSettings
    max_length: int
    device: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Held:
    """A model in memory with its adapters by name; clients may have it once it is admitted."""

    model: LoadedModel
    adapters: Mapping[str, LoadedAdapter]
    admitted: bool


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers right now; the engine swaps the whole of it between two batches.

    others: what is in memory beside the model that answers, by revision.
    """

    model: LoadedModel | None = None
    adapters: Mapping[str, LoadedAdapter] = field(default_factory=lambda: MappingProxyType({}))
    others: Mapping[str, Held] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def held(self) -> dict[str, Held]:
        """Return everything in memory by revision, the model that answers first."""
        if self.model is None:
            return dict(self.others)
        return {self.model.revision: Held(self.model, self.adapters, admitted=True), **self.others}


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """One query against documents; `deadline_s` is a point of `time.monotonic()`.

    revision: what must score it; without one, what answers now does.
    trial: whether it is the operator's own, which alone may be scored by a revision that isn't admitted.
    instruction: what the query is asked for, in place of the model's own; for models that were trained with one.
    paired_queries: one for each document, where each has its own.
    """

    query: str
    documents: Sequence[str]
    adapter: str | None = None
    raw_scores: bool = False
    deadline_s: float | None = None
    revision: str | None = None
    trial: bool = False
    instruction: str | None = None
    truncation: Truncation = CUT_AT_THE_END
    paired_queries: Sequence[str] = ()

    def query_of(self, document: int) -> str:
        """Return the query that a document, by its number, is scored with."""
        return self.paired_queries[document] if self.paired_queries else self.query


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Scores in document order, and which revisions made them; `truncated` counts documents that were cut."""

    scores: list[float]
    revision: str
    adapter_revision: str | None
    tokens: int
    queue_ms: float
    tokenization_ms: float
    inference_ms: float
    truncated: int = 0
