"""Who may take a Lease, by what is written in it and since when it was seen so."""

from datetime import UTC, datetime
from typing import Any

import pytest

from reranker_operator import lease
from reranker_operator.lease import Pace, Sight

NOW = datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC)
PACE = Pace(15)


def live(version: str = "7", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": version}, "spec": spec}


HELD = live(holderIdentity="other", leaseDurationSeconds=15, leaseTransitions=3)

FREE: dict[str, tuple[dict[str, Any], float, bool]] = {
    "another's, just seen": (HELD, 0, False),
    "another's, not written for its whole duration": (HELD, 15, False),
    "another's, not written for longer": (HELD, 15.1, True),
    "another's, by its own shorter duration": (live(holderIdentity="other", leaseDurationSeconds=1), 1.5, True),
    "its own, after a restart": (live(holderIdentity="me", leaseDurationSeconds=15), 0, True),
    "given back": (live(holderIdentity="", leaseDurationSeconds=1), 0, True),
    "made by hand, with nothing in it": ({"metadata": {"resourceVersion": "1"}}, 0, True),
    "made by hand, without a duration": (live(holderIdentity="other"), 0.1, True),
}


@pytest.mark.parametrize(("found", "seen_for_s", "free"), FREE.values(), ids=FREE.keys())
def test_a_lease_is_free_if_it_is(found: dict[str, Any], seen_for_s: float, free: bool) -> None:
    assert lease.is_free(found, "me", Sight("7", 100.0), 100.0 + seen_for_s) is free


def test_a_renewal_begins_the_wait_anew_and_a_look_does_not() -> None:
    first = lease.sight(live("7"), None, 100.0)
    assert lease.sight(live("7"), first, 110.0) == Sight("7", 100.0)
    assert lease.sight(live("8"), first, 112.0) == Sight("8", 112.0)


def test_taking_over_is_counted_and_dated_and_a_renewal_is_not() -> None:
    assert lease.taken(None, "me", PACE, NOW)["leaseTransitions"] == 0
    over = lease.taken(HELD, "me", PACE, NOW)
    assert over == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-03-01T12:00:00.250000Z",
        "renewTime": "2026-03-01T12:00:00.250000Z",
        "leaseTransitions": 4,
    }
    assert lease.taken(live(**over), "me", PACE, NOW).keys() == {"holderIdentity", "leaseDurationSeconds", "renewTime"}


def test_a_lease_that_is_given_back_is_free_for_anybody() -> None:
    assert lease.is_free(live(**lease.given_back(NOW)), "anybody", Sight("9", 0.0), 0.0)


@pytest.mark.parametrize("seconds", [1, 15, 3600])
def test_a_holder_gives_up_before_anybody_takes_over_and_has_tried_again_by_then(seconds: int) -> None:
    pace = Pace(seconds)
    assert 2 * pace.retry_s < pace.give_up_s < pace.lease_s
