"""What each answer of a run's history has to be: there, of the revision that it states, and of one that may. No I/O."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hack.stage.history import Request
from hack.swapproof.record import AdapterSeen, Known, ManifestSeen, Record
from hack.swapproof.spans import Span, spans

#: float32 on both sides: kernels differ by some 1e-7.
TOLERANCE = 1e-4
#: How much later than it happened something may be seen by `kubectl get --watch` on a busy node.
LAG_S = 1.0


@dataclass(frozen=True)
class Violation:
    """An invariant that did not hold, when, and in words."""

    invariant: str
    at: float  # of an answer: when its request was sent
    told: str
    of_answer: bool = False  # an answer that no client should have had


Scores = Mapping[tuple[str, str], tuple[float, ...]]  # by revision and adapter's revision


def failed(record: Record) -> Iterator[Violation]:
    """I1: no request fails."""
    for request in record.requests:
        if request.failed:
            yield Violation("I1", request.sent, request.error)


def wrong_scores(record: Record) -> Iterator[Violation]:
    """I2 and I3: the scores are those of the stated revision and adapter, and none is another's."""
    known = scores_of(record.facts.known)
    for request in record.requests:
        if not request.failed and not _equal(request.scores, known.get((request.revision, request.adapter))):
            yield _wrong(request, known)


def scores_of(known: Sequence[Known]) -> Scores:
    """Return the known scores by what gives them."""
    return {(one.revision, one.adapter): one.scores for one in known}


def blind_spots(known: Sequence[Known]) -> list[str]:
    """Return pairs whose scores are too close, document by document, to tell one's from the other's."""
    return [
        f"{_named(one)} and {_named(other)}"
        for number, one in enumerate(known)
        for other in known[:number]
        if all(abs(a - b) <= 2 * TOLERANCE for a, b in zip(one.scores, other.scores, strict=True))
    ]


def _named(known: Known) -> str:
    return f"{known.revision} {known.adapter}".rstrip()


def _equal(scores: Sequence[float], expected: Sequence[float] | None) -> bool:
    return (
        expected is not None
        and len(scores) == len(expected)
        and all(abs(score - wanted) <= TOLERANCE for score, wanted in zip(scores, expected, strict=True))
    )


def _wrong(request: Request, known: Scores) -> Violation:
    stated = f"{request.revision} {request.adapter}".rstrip()
    whole = [name for name, scores in known.items() if _equal(request.scores, scores)]
    if whole:
        told = f"{stated} is stated, the scores are those of {' '.join(whole[0]).rstrip()}"
        return _of_answer("I2", request, told)
    sources = [
        {name for name, scores in known.items() if number < len(scores) and abs(scores[number] - score) <= TOLERANCE}
        for number, score in enumerate(request.scores)
    ]
    if all(sources) and not set[tuple[str, str]].intersection(*sources):
        return _of_answer("I3", request, f"{stated} is stated, the scores are of several: {request.scores}")
    return _of_answer("I2", request, f"{stated} is stated, the scores are nobody's: {request.scores}")


def _of_answer(invariant: str, request: Request, told: str) -> Violation:
    return Violation(invariant, request.sent, told, of_answer=True)


def untimely(record: Record) -> Iterator[Violation]:
    """I5 and I8: after Ready only what was asked for answers, and before it nothing else than the old and the new."""
    timeline = spans(record.steps)
    for request in record.requests:
        around = [span for span in timeline if span.touches(request)]
        if not request.failed and around and not _may_answer(request, around):
            yield _out_of_time(request, around)


def _may_answer(request: Request, around: Sequence[Span]) -> bool:
    """Tell whether revision and adapter are of a state around; a model swap and an adapter's may come apart."""
    states = [state for span in around for state in span.states]
    return request.revision in {state.revision for state in states} and request.adapter in {
        state.adapter(request.asked) for state in states
    }


def _out_of_time(request: Request, around: Sequence[Span]) -> Violation:
    given = f"{request.revision} {request.adapter}".rstrip()
    if all(span.steady for span in around):
        return _of_answer("I5", request, f"{given} answered while the resource was Ready with another")
    return _of_answer("I8", request, f"{given} answered and was not asked for, or overtaken, or refused")


def untrue_adapters(record: Record) -> Iterator[Violation]:
    """I5: once a RerankerAdapter is Ready, its name is answered with its revision until the next move."""
    ready = (
        seen for seen in record.fleet if isinstance(seen, AdapterSeen) and seen.ready_generation == seen.generation
    )
    for seen in ready:
        until = min((step.began for step in record.steps if step.began > seen.time), default=math.inf)
        stated = f"RerankerAdapter {seen.name} was Ready with {seen.revision}"
        for request in record.requests:
            meant = request.asked == seen.name and seen.time < request.sent and request.done < until
            if meant and not request.failed and request.adapter != seen.revision:
                yield _of_answer("I5", request, f"{request.adapter} answered while {stated}")


def unadmitted(record: Record) -> Iterator[Violation]:
    """I8: a revision answers only while the serving manifest admits it."""
    manifests = [seen for seen in record.fleet if isinstance(seen, ManifestSeen)]
    if not manifests:
        yield Violation("I8", 0.0, "the serving manifest was never seen")
        return
    for request in record.requests:
        if not request.failed and request.revision not in _admitted(manifests, request):
            yield _of_answer("I8", request, f"{request.revision} answered and was not admitted")


def _admitted(manifests: Sequence[ManifestSeen], request: Request) -> set[str]:
    """Return what was admitted at some moment of a request; the first manifest was there before it was looked at."""
    before = [seen for seen in manifests if seen.time <= request.sent - LAG_S] or manifests[:1]
    during = [seen for seen in manifests if request.sent - LAG_S < seen.time <= request.done + LAG_S]
    return {revision for seen in (before[-1], *during) for revision in seen.admitted}
