"""What the proof's invariants are judged on: a good run has some of each, and a run without it proves nothing."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from hack.stage.history import Request
from hack.swapproof.checks import INVARIANTS, verdict
from hack.swapproof.evidence import evidence
from hack.swapproof.record import AdapterSeen, EndpointsSeen, ManifestSeen, ModelSeen, Quiet, Record
from hack.swapproof.report import lines
from tests.fixtures.runs import run


def requests_where(keep: Callable[[Request], bool]) -> Record:
    good = run()
    return replace(good, requests=[request for request in good.requests if keep(request)])


def unseen(kind: type) -> Record:
    good = run()
    return replace(good, fleet=[seen for seen in good.fleet if not isinstance(seen, kind) or seen.time < 100])


def facts(**members: object) -> Record:
    good = run()
    return replace(good, facts=replace(good.facts, **members))  # type: ignore[arg-type]


def steps_without(kind: str) -> Record:
    good = run()
    return replace(good, steps=[step for step in good.steps if step.kind != kind])


def one_score() -> Record:
    good = run()
    return replace(good, requests=[replace(request, scores=request.scores[:1]) for request in good.requests])


LACKING = [
    pytest.param(
        requests_where(lambda one: one.connection == "kept"), "I1", "requests on new connections", id="none new"
    ),
    pytest.param(
        requests_where(lambda one: one.connection == "new"), "I1", "requests on kept connections", id="none kept"
    ),
    pytest.param(
        requests_where(lambda one: bool(one.adapter)), "I2", "answers by a model alone", id="adapters everywhere"
    ),
    pytest.param(requests_where(lambda one: not one.adapter), "I2", "answers under an adapter", id="no adapter"),
    pytest.param(one_score(), "I3", "answers of several scores while models were swapped", id="nothing to mix"),
    pytest.param(unseen(EndpointsSeen), "I4", "sights of the endpoints during moves", id="endpoints unseen"),
    pytest.param(unseen(AdapterSeen), "I5", "sights of adapter resources during moves", id="adapter resources unseen"),
    pytest.param(unseen(ModelSeen), "I5", "sights of the resource during moves", id="resource unseen"),
    pytest.param(
        requests_where(lambda one: 100 < one.sent < 110), "I5", "answers between moves", id="answers during moves only"
    ),
    pytest.param(
        facts(quiet=Quiet(125.0, 135.0, 0, 0)), "I6", "writes before the quiet time", id="an operator that never wrote"
    ),
    pytest.param(
        requests_where(lambda one: one.sent < 125), "I6", "answers in the quiet time", id="a quiet without load"
    ),
    pytest.param(facts(owned=()), "I7", "objects that had to go", id="nothing was owned"),
    pytest.param(unseen(ManifestSeen), "I8", "sights of the serving manifest during moves", id="manifest unseen"),
    pytest.param(steps_without("refused"), "I8", "candidates that were refused", id="none refused"),
    pytest.param(steps_without("overtaken"), "I8", "candidates that were overtaken", id="none overtaken"),
]


@pytest.mark.parametrize(("record", "invariant", "of"), LACKING)
def test_a_run_that_gives_an_invariant_nothing_to_judge_proves_nothing(record: Record, invariant: str, of: str) -> None:
    found = verdict(record)
    assert (invariant, of) in {(one.invariant, one.of) for one in found.unproven}
    assert not found.holds
    assert f"  {invariant} ({INVARIANTS[invariant]}) is not proven: no {of}" in lines(found)


def test_a_good_run_has_something_of_everything() -> None:
    assert all(one.count for one in evidence(run()))


def test_every_sort_of_evidence_has_a_run_that_lacks_it() -> None:
    assert {(param.values[1], param.values[2]) for param in LACKING} == {
        (one.invariant, one.of) for one in evidence(run())
    }


def test_each_invariant_is_judged_on_something() -> None:
    assert {one.invariant for one in evidence(run())} == INVARIANTS.keys()
