"""What must hold whatever users and accidents do: while it goes on, and once it has come to rest."""

from collections.abc import Callable
from dataclasses import dataclass, field

from reranker_operator.decisions import rejection
from reranker_operator.decisions.rollout import wanted_model
from reranker_operator.resources.v1alpha1 import RerankerModelStatus
from reranker_operator.world import names
from reranker_operator.world.fleet import answered_last
from reranker_operator.world.reports import WorkerReport
from reranker_operator.world.state import Kind, Target, World
from reranker_operator.world.trials import Passed
from tests.unit.operator.simulation.cluster import Cluster, deployments
from tests.unit.operator.simulation.pods import WorkerPod

#: How long a roll that may end every pod may take to bring one back.
ROLLED_S = 40


@dataclass
class Watch:
    """Looks on and notes what must not be; `excused_until`: an accident may have left no pod until then."""

    cluster: Cluster
    say: Callable[[str], None]
    violations: list[str] = field(default_factory=list)
    excused_until: int = 0
    serves: bool = False

    def excuse(self, until: int) -> None:
        self.excused_until = max(self.excused_until, until)

    def behind_service(self) -> list[WorkerPod]:
        """Pods that clients reach and that answer them."""
        service = self.cluster.children.get(Kind.SERVICE)
        if service is None:
            return []
        fleet = service["spec"]["selector"][names.FLEET_LABEL]
        return [pod for pod in self.cluster.pods if pod.fleet == fleet and pod.answers_with is not None]

    def step(self, now: int) -> None:
        """Look at what clients meet in this second."""
        spec = self.cluster.spec
        if spec.pods == 0:
            self.serves = False
        if spec.pods <= spec.rollout.max_unavailable:
            self.excuse(now + ROLLED_S)
        answering = self.behind_service()
        if self.serves and not answering and now > self.excused_until:
            self._note("no pod answers clients any more")
        self.serves = bool(answering) or (self.serves and now <= self.excused_until)
        for pod in answering:
            told = pod.worker.reading.effective
            if told is None or pod.answers_with not in told.admitted:
                self._note(f"pod {pod.name} answers with {self.cluster.short(pod.answers_with)}, which isn't admitted")

    def decision(self, world: World, goal: Target) -> None:
        """Look at what the operator is about to write."""
        for revision in sorted(set(goal.manifest.admitted) - _allowed(world)):
            name = self.cluster.short(revision)
            self.say(f"  {name} is admitted, judgement {world.judgement}")
            if world.model.spec.rollout.gate is not None and not isinstance(world.judgement, Passed):
                self._note(f"{name} is admitted without its gate's word")
            if not any(_has_loaded(report, revision) for report in world.reports.values()):
                self._note(f"{name} is admitted, and no pod has it in memory")
        wanted, now_tried = wanted_model(world.model).revision, rejection.attempt(world.model.spec)
        rejected = RerankerModelStatus.model_validate(world.model.status).revisions.rejected or ()
        if goal.revision == wanted and any((each.name, each.attempt) == (wanted, now_tried) for each in rejected):
            self._note(f"{self.cluster.short(wanted)} comes back, though it was rejected under the same gate")

    def _note(self, words: str) -> None:
        self.say(f"VIOLATION {words}")
        self.violations.append(words)


def _allowed(world: World) -> set[str]:
    """Revisions that may answer before this decision: by what anybody was told, by what answers, and what did last."""
    told = [world.manifest, *(pod.manifest for pod in world.pods)]
    admitted = {revision for manifest in told if manifest is not None for revision in manifest.admitted}
    models = (model for report in world.reports.values() for model in report.models)
    return admitted | {model.revision for model in models if model.admitted and model.serving} | {answered_last(world)}


def _has_loaded(report: WorkerReport, revision: str) -> bool:
    entry = report.model(revision)
    return entry is not None and entry.phase == "Loaded"


def at_rest(cluster: Cluster, goal: Target, *, ready: bool, stalled: str, answering: int) -> list[str]:
    """What is wrong with a cluster in which nothing is written any more."""
    kept, named = cluster.past, {model.revision for model in goal.manifest.models}
    fleets = deployments(cluster)
    checks = {
        "it is neither Ready nor Stalled": not ready and not stalled,
        "no pod answers clients": cluster.spec.pods > 0 and answering == 0,
        f"it is Ready with {answering} of {cluster.spec.pods} pods": ready and answering != cluster.spec.pods,
        f"the Deployments are {fleets}": len(fleets) != 1,
        "it is Ready, and the manifest names another model": ready and len(named) > 1,
        "it is Ready, and the manifest has a candidate": ready and bool(goal.manifest.candidates),
        "more old revisions are kept than the limit and what answered last": (
            len({each.model.revision for each in kept} - named) > cluster.spec.revision_history_limit + 1
        ),
    }
    return [words for words, wrong in checks.items() if wrong]
