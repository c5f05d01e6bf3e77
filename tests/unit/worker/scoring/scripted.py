"""A model without weights: its runner scores by a test's rule, when the test lets it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Event

from reranker_worker.serving import (
    CUT_AT_THE_END,
    EncodedPair,
    LoadedModel,
    PairFailure,
    RunningBatch,
    ScoringPair,
    Truncation,
)

from .conftest import RAW


@dataclass
class ScriptedRunner:
    """Scores a pair by its length, when the test lets it; keeps what each batch held.

    by_itself: whether it is like a GPU, which goes on computing after it was told what.
    """

    by_itself: bool = False
    batches: list[list[ScoringPair]] = field(default_factory=list)
    ended: list[list[ScoringPair]] = field(default_factory=list)
    gate: Event = field(default_factory=Event)
    outcome: Callable[[ScoringPair], float | PairFailure] = lambda pair: float(len(pair.encoded))
    max_batch_tokens: int = 100

    def score(
        self, pairs: Sequence[ScoringPair], on_layer: Callable[[], None] | None = None
    ) -> list[float | PairFailure]:
        return self.begin(pairs, on_layer).outcomes()

    def begin(self, pairs: Sequence[ScoringPair], on_layer: Callable[[], None] | None = None) -> RunningBatch:
        if on_layer is not None:
            on_layer()
        self.batches.append(list(pairs))
        if self.by_itself:
            return RunningBatch(self.gate.is_set, lambda: self._ended(pairs))
        outcomes = self._ended(pairs)
        return RunningBatch(lambda: True, lambda: outcomes)

    def _ended(self, pairs: Sequence[ScoringPair]) -> list[float | PairFailure]:
        assert self.gate.wait(10)
        self.ended.append(list(pairs))
        return [self.outcome(pair) for pair in pairs]


class WordTokenizer:
    """One token a word, none for templates."""

    def encode_query(self, query: str, instruction: str | None = None) -> list[int]:  # noqa: ARG002
        return [0] * len(query.split())

    def encode_pairs(
        self,
        query_ids: list[int],
        documents: Sequence[str],
        truncation: Truncation = CUT_AT_THE_END,  # noqa: ARG002
    ) -> list[EncodedPair]:
        ids = [[*query_ids, *([1] * len(document.split()))] for document in documents]
        return [EncodedPair(pair, [0] * len(pair)) for pair in ids]


def scripted(runner: ScriptedRunner, revision: str = "scripted-1") -> LoadedModel:
    """Return a model of words that the runner scores."""
    return LoadedModel(revision, runner, WordTokenizer(), RAW, max_length=1000, device="cpu", dtype="float32")
