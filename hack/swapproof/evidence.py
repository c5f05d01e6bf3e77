"""What a run gives each invariant to judge: one that nothing could have broken was not proven. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hack.stage.history import Request
from hack.swapproof.record import AdapterSeen, EndpointsSeen, ManifestSeen, ModelSeen, Record, Step
from hack.swapproof.spans import Span, spans


@dataclass(frozen=True)
class Evidence:
    """How much of something a run holds, on which an invariant is judged."""

    invariant: str
    of: str
    count: int


def evidence(record: Record) -> list[Evidence]:
    """Return what each invariant was judged on."""
    return [Evidence(invariant, of, count) for invariant, of, count in _counted(record)]


def _counted(record: Record) -> Iterator[tuple[str, str, int]]:
    answers = [request for request in record.requests if not request.failed]
    timeline = spans(record.steps)
    swaps = [span for span in timeline if not span.steady and len({state.revision for state in span.states}) > 1]
    yield "I1", "requests on new connections", sum(request.connection == "new" for request in record.requests)
    yield "I1", "requests on kept connections", sum(request.connection == "kept" for request in record.requests)
    yield "I2", "answers by a model alone", sum(not request.adapter for request in answers)
    yield "I2", "answers under an adapter", sum(bool(request.adapter) for request in answers)
    yield "I3", "answers of several scores while models were swapped", _mixable(answers, swaps)
    yield "I4", "sights of the endpoints during moves", _seen_in_steps(record, EndpointsSeen)
    yield "I5", "sights of the resource during moves", _seen_in_steps(record, ModelSeen)
    yield "I5", "sights of adapter resources during moves", _seen_in_steps(record, AdapterSeen)
    yield "I5", "answers between moves", _answers_between(answers, timeline)
    yield "I6", "writes before the quiet time", record.facts.quiet.writes_before
    yield "I6", "answers in the quiet time", _answers_in_quiet(record, answers)
    yield "I7", "objects that had to go", len(record.facts.owned)
    yield "I8", "sights of the serving manifest during moves", _seen_in_steps(record, ManifestSeen)
    yield "I8", "candidates that were refused", sum(not step.is_swap for step in record.steps)
    yield "I8", "candidates that were overtaken", sum(step.is_swap and bool(step.never) for step in record.steps)


def _mixable(answers: Sequence[Request], swaps: Sequence[Span]) -> int:
    return sum(len(request.scores) > 1 and any(span.touches(request) for span in swaps) for request in answers)


def _seen_in_steps(record: Record, kind: type) -> int:
    return sum(isinstance(seen, kind) and _during(record.steps, seen.time) for seen in record.fleet)


def _during(steps: Sequence[Step], time: float) -> bool:
    return any(step.began <= time <= step.settled for step in steps)


def _answers_between(answers: Sequence[Request], timeline: Sequence[Span]) -> int:
    return sum(all(span.steady for span in timeline if span.touches(request)) for request in answers)


def _answers_in_quiet(record: Record, answers: Sequence[Request]) -> int:
    quiet = record.facts.quiet
    return sum(quiet.began <= request.sent <= quiet.ended for request in answers)
