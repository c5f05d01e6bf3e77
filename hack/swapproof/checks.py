"""All invariants of a run, and whether it counts as a proof. No I/O."""

from dataclasses import dataclass

from hack.swapproof import answers, fleet
from hack.swapproof.answers import Violation
from hack.swapproof.evidence import Evidence, evidence
from hack.swapproof.record import Record

#: Invariant by invariant, in the words of the report.
INVARIANTS = {
    "I1": "no request fails",
    "I2": "the scores are those of the stated revision",
    "I3": "no answer mixes the scores of two revisions",
    "I4": "never fewer pods ready than the minimum",
    "I5": "observedGeneration only grows, and Ready never lies",
    "I6": "nothing is written while nothing is asked",
    "I7": "nothing owned is left over",
    "I8": "a revision that isn't admitted never answers",
}
_CHECKS = (
    answers.failed,
    answers.wrong_scores,
    answers.untimely,
    answers.untrue_adapters,
    answers.unadmitted,
    fleet.below_minimum,
    fleet.untruthful,
    fleet.restless,
    fleet.left_over,
)


@dataclass(frozen=True)
class Verdict:
    """What was wrong with a run, if anything."""

    swaps: int
    requests: int
    failed: int
    wrong: int  # answers that no client should have had
    violations: tuple[Violation, ...]
    evidence: tuple[Evidence, ...]
    short_of: int  # swaps that were asked for and not made

    @property
    def holds(self) -> bool:
        """Tell whether the run proves what it was made for."""
        return not self.violations and not self.short_of and not self.unproven

    @property
    def unproven(self) -> list[Evidence]:
        """Return what an invariant should have been judged on, and the run has none of."""
        return [one for one in self.evidence if not one.count]

    @property
    def closing_line(self) -> str:
        """Return the last line of the command's output."""
        return f"swap-proof: {self.swaps} swaps, {self.requests} requests, {self.failed} failed, {self.wrong} wrong"


def verdict(record: Record) -> Verdict:
    """Judge a run."""
    violations = tuple(violation for check in _CHECKS for violation in check(record))
    swaps = sum(step.is_swap for step in record.steps)
    return Verdict(
        swaps=swaps,
        requests=len(record.requests),
        failed=sum(request.failed for request in record.requests),
        wrong=len({violation.at for violation in violations if violation.of_answer}),
        violations=violations,
        evidence=tuple(evidence(record)),
        short_of=max(0, record.facts.swaps - swaps),
    )
