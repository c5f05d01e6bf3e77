"""The proof's checks: none of them complains of a good run, and each of them of a run that breaks its invariant."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from hack.swapproof import answers, fleet
from hack.swapproof.answers import Violation, blind_spots
from hack.swapproof.checks import INVARIANTS, verdict
from hack.swapproof.record import EndpointsSeen, Known, ManifestSeen, ModelSeen, Quiet, Record
from tests.fixtures.runs import (
    BEFORE,
    KNOWN,
    LEGAL,
    LEGAL_2,
    MIDDLE,
    NEW,
    OLD,
    failure,
    request,
    run,
    with_fleet,
    with_requests,
)


def quiet(ended: float = 135.0, writes_after: int = 40) -> Record:
    good = run()
    return replace(good, facts=replace(good.facts, quiet=Quiet(125.0, ended, 40, writes_after)))


def refused() -> Record:
    """The third step's candidate is refused, and its generation is called Ready nevertheless."""
    return with_fleet(ModelSeen(122.3, 4, 4, 4))


def without(kind: type) -> Record:
    good = run()
    return replace(good, fleet=[seen for seen in good.fleet if not isinstance(seen, kind)])


def told(record: Record) -> list[tuple[str, str]]:
    return [(violation.invariant, violation.told) for violation in verdict(record).violations]


def test_a_good_run_holds() -> None:
    found = verdict(run())
    assert found.violations == ()
    assert found.holds
    assert found.closing_line == "swap-proof: 3 swaps, 11 requests, 0 failed, 0 wrong"


BROKEN = [
    pytest.param(with_requests(failure(95.0)), "I1", "HTTP 503", id="a request fails"),
    pytest.param(
        with_requests(replace(request(95.0), scores=(0.2, 0.8))),
        "I2",
        f"the scores are those of {NEW}",
        id="the scores are another revision's",
    ),
    pytest.param(
        with_requests(replace(request(95.0, adapter=LEGAL), scores=(0.1, 0.9))),
        "I2",
        f"{OLD} {LEGAL} is stated, the scores are those of {OLD}",
        id="the base answers in an adapter's name",
    ),
    pytest.param(
        with_requests(replace(request(95.0), scores=(0.1, 0.55))), "I2", "nobody's", id="the scores are nobody's"
    ),
    pytest.param(with_requests(replace(request(95.0), scores=(0.1,))), "I2", "is stated", id="a score is missing"),
    pytest.param(
        with_requests(replace(request(105.0), scores=(0.1, 0.8))), "I3", "of several", id="two revisions are mixed"
    ),
    pytest.param(with_fleet(EndpointsSeen(104.9, 1)), "I4", "1 pods are ready", id="a pod too few"),
    pytest.param(without(EndpointsSeen), "I4", "never seen", id="nobody looked at the endpoints"),
    pytest.param(with_requests(request(112.0)), "I5", "was Ready with another", id="the old one answers after Ready"),
    pytest.param(
        with_requests(request(125.0, NEW, LEGAL)),
        "I5",
        "was Ready with another",
        id="the old adapter answers after Ready",
    ),
    pytest.param(with_fleet(ModelSeen(115.0, 3, 1, 0)), "I5", "went from 2 to 1", id="observedGeneration goes back"),
    pytest.param(with_fleet(ModelSeen(115.0, 2, 2, 3)), "I5", "to come", id="Ready for a generation to come"),
    pytest.param(refused(), "I5", "which was refused", id="Ready for what was refused"),
    pytest.param(
        with_requests(request(120.95, NEW, LEGAL)),
        "I5",
        f"{LEGAL} answered while RerankerAdapter legal was Ready with {LEGAL_2}",
        id="the adapter before it answers after its Ready",
    ),
    pytest.param(without(ModelSeen), "I5", "never seen", id="nobody looked at the resource"),
    pytest.param(quiet(writes_after=41), "I6", "1 writes", id="a write in the quiet"),
    pytest.param(
        with_fleet(ModelSeen(130.0, 3, 3, 3)), "I6", "a resource changed in a quiet time", id="a change in the quiet"
    ),
    pytest.param(quiet(ended=125.0), "I6", "no quiet time", id="no quiet"),
    pytest.param(
        replace(run(), facts=replace(run().facts, leftovers=("pod/proof-1",))), "I7", "pod/proof-1", id="a pod is left"
    ),
    pytest.param(
        with_requests(request(105.0, MIDDLE)), "I8", "was not asked for, or overtaken", id="an overtaken one answers"
    ),
    pytest.param(with_requests(request(101.5, NEW)), "I8", "was not admitted", id="it answers before its admission"),
    pytest.param(without(ManifestSeen), "I8", "never seen", id="nobody looked at the manifest"),
]


@pytest.mark.parametrize(("record", "invariant", "said"), BROKEN)
def test_each_broken_invariant_is_told(record: Record, invariant: str, said: str) -> None:
    assert any(found == invariant and said in words for found, words in told(record)), told(record)
    assert not verdict(record).holds


def test_every_invariant_has_a_run_that_breaks_it() -> None:
    assert {param.values[1] for param in BROKEN} == INVARIANTS.keys()


def test_failed_and_wrong_answers_are_counted_once() -> None:
    wrong = replace(request(112.0), scores=(0.2, 0.8))  # of another revision, and after Ready
    found = verdict(with_requests(failure(95.0), wrong))
    assert (found.failed, found.wrong) == (1, 1)


def test_fewer_swaps_than_asked_for_prove_nothing() -> None:
    good = run()
    found = verdict(replace(good, facts=replace(good.facts, swaps=4)))
    assert (found.short_of, found.holds) == (1, False)


def test_no_requests_prove_nothing() -> None:
    assert not verdict(replace(run(), requests=[])).holds


def test_a_refused_candidate_is_no_swap() -> None:
    assert [step.is_swap for step in run().steps] == [True, True, False, True]
    assert verdict(run()).swaps == 3


@pytest.mark.parametrize(
    ("taken", "ready", "complaints"),
    [
        pytest.param(False, 1, 1, id="nobody takes a pod"),
        pytest.param(True, 1, 0, id="the test takes one"),
        pytest.param(True, 0, 1, id="two are gone"),
    ],
)
def test_the_minimum_is_one_less_while_the_test_takes_a_pod(taken: bool, ready: int, complaints: int) -> None:
    good = with_fleet(EndpointsSeen(105.0, ready))
    record = replace(good, steps=[replace(good.steps[0], pods_taken=taken), *good.steps[1:]])
    assert len(list(fleet.below_minimum(record))) == complaints


def test_what_comes_after_the_quiet_time_is_the_deletion() -> None:
    assert list(fleet.below_minimum(with_fleet(EndpointsSeen(136.0, 0)))) == []


@pytest.mark.parametrize(
    "early",
    [
        pytest.param(request(103.5, NEW), id="seen a little late"),
        pytest.param(request(103.0, NEW, latency_s=2.0), id="a long request"),
    ],
)
def test_a_watch_that_lags_accuses_nobody(early: object) -> None:
    assert list(answers.unadmitted(with_requests(early))) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("check", [answers.untimely, answers.unadmitted, answers.wrong_scores])
def test_a_failed_request_is_blamed_for_its_failure_alone(check: Callable[[Record], object]) -> None:
    assert list(check(with_requests(failure(112.0)))) == []  # type: ignore[call-overload]


def test_an_oracle_whose_scores_are_alike_is_blind() -> None:
    assert blind_spots(KNOWN) == []
    twin = Known("proof-00000009", "", (0.1, 0.9))
    assert blind_spots([*KNOWN, twin]) == [f"proof-00000009 and {OLD}"]


def test_old_answers_before_the_first_step_are_fine() -> None:
    record = replace(run(), requests=[request(95.0)], facts=replace(run().facts, quiet=Quiet(125.0, 135.0, 0, 0)))
    assert list(answers.untimely(record)) == []
    assert record.steps[0].before == BEFORE


def test_a_violation_says_whether_it_is_an_answer_s() -> None:
    (violation,) = answers.wrong_scores(with_requests(replace(request(95.0), scores=(0.2, 0.8))))
    assert violation == Violation("I2", 95.0, f"{OLD} is stated, the scores are those of {NEW}", of_answer=True)
