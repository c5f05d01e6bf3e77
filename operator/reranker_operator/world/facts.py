"""What is true of an object, as the conditions of its status, and a condition looked up. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from reranker_operator.resources.schema import Condition
from reranker_operator.world.names import Document

#: The reason where this version can't parse a spec.
INVALID_SPEC = "InvalidSpec"

#: The conditions of what a model serves without.
AUTOSCALING, ROUTED = "Autoscaling", "Routed"
ACCESSORY_CONDITIONS = (AUTOSCALING, ROUTED)


@dataclass(frozen=True)
class Fact:
    """A condition before it is compared with the one before."""

    type: str
    holds: bool
    reason: str
    message: str


@dataclass(frozen=True)
class Problem:
    """Why something doesn't go on. `stalled`: it won't by itself, or not soon."""

    reason: str
    message: str
    stalled: bool = True


def pace(problem: Problem) -> Fact:
    """Stalled or Reconciling, which are there only while they hold (as kstatus reads them)."""
    return Fact("Stalled" if problem.stalled else "Reconciling", True, problem.reason, problem.message)


def conditions(facts: Sequence[Fact], generation: int, before: Sequence[Condition], now: str) -> Iterator[Condition]:
    """The facts as conditions; a transition time moves only with the status."""
    earlier = {condition.type: condition for condition in before}
    for fact in facts:
        value: Literal["True", "False"] = "True" if fact.holds else "False"
        old = earlier.get(fact.type)
        yield Condition(
            type=fact.type,
            status=value,
            observed_generation=generation,
            last_transition_time=old.last_transition_time if old is not None and old.status == value else now,
            reason=fact.reason,
            message=fact.message,
        )


def timestamp(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(status: Document, name: str) -> Document:
    """The condition of that type in a live status; empty where it is absent."""
    return next((c for c in status.get("conditions") or () if c["type"] == name), {})
