"""The gate's judge in simulated seconds: a trial takes its time, then the operator's own verdict is on its figures."""

from dataclasses import dataclass

from reranker_operator.decisions import gate
from reranker_operator.judge import RETRY_S
from reranker_operator.world.facts import Problem
from reranker_operator.world.trials import Figures, Judgement, Trial, Undecided
from tests.unit.operator.simulation import sources

#: How long the golden set takes.
TRIAL_S = 3


@dataclass(frozen=True)
class Circumstances:
    """What a trial meets: the time, whether there is a golden set, the candidate's source, and who answers."""

    now: int
    golden_set: bool
    candidate: str
    answering: frozenset[str]


@dataclass
class Case:
    """One candidate under one gate; known: what the try before this one came to, found: what this one came to."""

    name: tuple[str, str]
    begun: int
    known: Judgement
    found: Judgement | None = None
    retry_at: float = 0.0


@dataclass
class SimulatedJudge:
    """Holds at most one trial, as the operator's judge does for one model."""

    case: Case | None = None

    def keep(self, revision: str) -> None:
        """Forget any other candidate than this one."""
        if self.case is not None and self.case.name[0] != revision:
            self.forget()

    def forget(self) -> None:
        self.case = None

    def judgement(self, trial: Trial, here: Circumstances) -> Judgement:
        """What is known by now of a candidate; its trial begins with the first call."""
        name = (trial.candidate.revision, trial.gate_hash)
        if self.case is None or self.case.name != name:
            self.case = Case(name, here.now, Undecided())
        case = self.case
        shadow_s = trial.gate.shadow.duration_seconds if trial.gate.shadow is not None else 0
        if case.found is None and here.now - case.begun < TRIAL_S + shadow_s:
            return case.known
        if case.found is None:
            case.found, case.retry_at = _result(trial, here), here.now + RETRY_S
        if isinstance(case.found, Undecided) and here.now >= case.retry_at:
            self.case = Case(name, here.now, case.found)
        return case.found


def _result(trial: Trial, here: Circumstances) -> Judgement:
    if not here.golden_set:
        return Undecided(Problem("GoldenSetInvalid", "there is none"))
    if trial.candidate.pod not in here.answering:
        return Undecided(Problem("GateWaits", f"pod {trial.candidate.pod} doesn't answer", stalled=False))
    poor = sources.name_of(here.candidate) == sources.REFUSED
    return gate.verdict(trial.gate, Figures(ndcg=0.1 if poor else 0.9, rank_correlation=0.9, p95_ms=1.0))
