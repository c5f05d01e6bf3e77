"""What fleet and operator have to be in a run: whole, truthful, quiet, and gone at its end. No I/O."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from hack.swapproof.answers import Violation
from hack.swapproof.record import AdapterSeen, EndpointsSeen, ModelSeen, Record, Step


def below_minimum(record: Record) -> Iterator[Violation]:
    """I4: all replicas are ready at any time; one less where the test itself takes a pod."""
    seen = [one for one in record.fleet if isinstance(one, EndpointsSeen)]
    if not seen:
        yield Violation("I4", 0.0, "the Service's endpoints were never seen")
    for one in seen:
        least = _minimum(one.time, record.steps, record.facts.replicas)
        if one.ready < least and one.time <= record.facts.quiet.ended:
            yield Violation("I4", one.time, f"{one.ready} pods are ready, at least {least} should be")


def _minimum(time: float, steps: Sequence[Step], replicas: int) -> int:
    taken = any(step.pods_taken and step.began <= time <= step.settled for step in steps)
    return replicas - taken


def untruthful(record: Record) -> Iterator[Violation]:
    """I5: generations only grow, and Ready is never true for what was refused."""
    seen = [one for one in record.fleet if isinstance(one, ModelSeen)]
    if not seen:
        yield Violation("I5", 0.0, "the resource was never seen")
    for former, later in pairwise(seen):
        if later.observed_generation < former.observed_generation:
            told = f"observedGeneration went from {former.observed_generation} to {later.observed_generation}"
            yield Violation("I5", later.time, told)
    refused = {step.refused_generation for step in record.steps if step.refused_generation}
    for one in seen:
        if one.ready_generation > one.generation:
            yield Violation("I5", one.time, f"Ready for {one.ready_generation}, a generation to come")
        if one.ready_generation in refused:
            yield Violation("I5", one.time, f"Ready for generation {one.ready_generation}, which was refused")


def restless(record: Record) -> Iterator[Violation]:
    """I6: without an edit nothing is written."""
    quiet = record.facts.quiet
    if quiet.ended <= quiet.began:
        yield Violation("I6", quiet.began, "there was no quiet time")
    if quiet.writes_after != quiet.writes_before:
        told = f"{quiet.writes_after - quiet.writes_before} writes of the operator in a quiet time"
        yield Violation("I6", quiet.ended, told)
    for one in record.fleet:
        if isinstance(one, ModelSeen | AdapterSeen) and quiet.began < one.time < quiet.ended:
            yield Violation("I6", one.time, "a resource changed in a quiet time")


def left_over(record: Record) -> Iterator[Violation]:
    """I7: nothing of a deleted model is left."""
    for name in record.facts.leftovers:
        yield Violation("I7", record.facts.quiet.ended, f"{name} is left after its model was deleted")
