"""What a Lease says of who may act, and what the next holder writes into it. No I/O.

As client-go's elections read it: nobody compares clocks of two machines. A holder is gone once its Lease hasn't been
written for the time that it states, by the clock of the one who looks, since the one who looks first saw it so.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from reranker_operator.world.names import Document


@dataclass(frozen=True)
class Pace:
    """Times of an election in seconds, as shares of the Lease's duration.

    A holder gives up before anybody takes over from it: it counts from when it sent its last write that was answered,
    which is earlier than anybody can have seen that write.
    """

    lease_s: int

    @property
    def give_up_s(self) -> float:
        """How long a holder goes on without an answer."""
        return self.lease_s * 2 / 3

    @property
    def retry_s(self) -> float:
        """Between two writes of a holder, or two looks of those who wait."""
        return self.lease_s * 2 / 15


@dataclass(frozen=True)
class Sight:
    """A version of the Lease, and when it was first seen by the looker's clock."""

    version: str
    since: float


def sight(live: Document, before: Sight | None, now: float) -> Sight:
    """What was seen before as long as nobody has written, else a new one."""
    version = str(live["metadata"]["resourceVersion"])
    return before if before is not None and before.version == version else Sight(version, now)


def holder(live: Document) -> str:
    """Who holds the Lease; "" for nobody."""
    return str((live.get("spec") or {}).get("holderIdentity") or "")


def is_free(live: Document, identity: str, seen: Sight, now: float) -> bool:
    """Whether `identity` may take the Lease: it is its own, nobody's, or has run out."""
    held_by = holder(live)
    duration_s = (live.get("spec") or {}).get("leaseDurationSeconds") or 0
    return held_by in ("", identity) or now - seen.since > duration_s


def taken(live: Document | None, identity: str, pace: Pace, now: datetime) -> Document:
    """The spec of a Lease that `identity` takes or renews."""
    spec: Document = (live or {}).get("spec") or {}
    fresh = {"holderIdentity": identity, "leaseDurationSeconds": pace.lease_s, "renewTime": _micro_time(now)}
    if live is not None and holder(live) == identity:
        return fresh
    transitions = spec.get("leaseTransitions") or 0
    return {
        **fresh,
        "acquireTime": _micro_time(now),
        "leaseTransitions": transitions if live is None else transitions + 1,
    }


def given_back(now: datetime) -> Document:
    """The spec of a Lease that its holder leaves to whoever looks next."""
    return {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time(now)}


def _micro_time(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
