"""What the gate tries, and what came of it, as plain frozen data. No I/O."""

from dataclasses import dataclass

from reranker_operator.resources.rollout_policy import Gate
from reranker_operator.world.facts import Problem
from reranker_operator.world.names import Key


@dataclass(frozen=True)
class Seat:
    """A revision in the memory of a pod, where it can be asked for scores."""

    pod: str
    ip: str
    revision: str


@dataclass(frozen=True)
class Trial:
    """What the gate is to try: a candidate, compared with what serves where something does.

    witnesses: all pods that serve; what their clients ask is compared too where the gate says so.
    """

    key: Key
    uid: str
    gate: Gate
    gate_hash: str
    candidate: Seat
    serving: Seat | None
    witnesses: tuple[Seat, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A worker's scores for one question, in the order of its documents, and how long they took."""

    scores: tuple[float, ...]
    milliseconds: float


@dataclass(frozen=True)
class LiveSample:
    """What a client asked, and the scores that it got."""

    number: int
    revision: str
    adapter: str | None
    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Figures:
    """What a trial measured; None where there was nothing to measure."""

    finite: bool = True
    ndcg: float | None = None
    rank_correlation: float | None = None
    p95_ms: float | None = None
    live_correlation: float | None = None
    live_queries: int = 0


@dataclass(frozen=True)
class Passed:
    """The candidate may answer."""

    figures: Figures


@dataclass(frozen=True)
class Failed:
    """The candidate may not answer."""

    reason: str
    message: str
    figures: Figures


@dataclass(frozen=True)
class Undecided:
    """The trial goes on, or waits for what `problem` says."""

    problem: Problem | None = None


Judgement = Passed | Failed | Undecided
