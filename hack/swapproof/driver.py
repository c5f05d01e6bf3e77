"""Making the moves on a fleet under load, one after the other, each until it is served."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

from hack.stage.cluster import OPERATOR_NAMESPACE, RELEASE
from hack.stage.kubectl import Kubectl
from hack.stage.operator_metrics import writes
from hack.stage.traffic import Traffic
from hack.swapproof.cost import CALM
from hack.swapproof.disturbances import happen
from hack.swapproof.moves import TAKES_A_POD, Move
from hack.swapproof.record import EndpointsSeen, ModelSeen, Quiet, Step
from hack.swapproof.wanted import REPLICAS, Digests, Wanted, model_revision, resource, serves
from hack.swapproof.watching import Watch

CALM_S = 15.0
QUIET_S = 20.0
REST_S = 1.5  # between two moves
SETTLED_S = 3.0  # without a write after the last move
WITHIN_S = 240.0
METRICS = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/services/{RELEASE}:http/proxy/metrics"


class Driver:
    """The hand that edits the resource, and tells the load what it may ask for."""

    def __init__(
        self, kubectl: Kubectl, sent: Traffic, watch: Watch, digests: Digests, *, rate: float, random: Random
    ) -> None:
        self._kubectl = kubectl
        self._sent = sent
        self._watch = watch
        self._digests = digests
        self._rate = rate
        self._random = random
        self._pool = ThreadPoolExecutor(max_workers=1)

    def begin(self, wanted: Wanted) -> None:
        """Let the load run for a while before the first move."""
        self._ask_for(wanted.names)
        self._sent.order(f"phase {CALM}")
        self._let_pass(CALM_S)

    def make(self, number: int, move: Move) -> Step:
        """Make one move and wait until it is served."""
        self._ask_for([name for name in move.before.names if name in move.after.names])
        self._let_pass(REST_S)  # what still asks for an adapter that goes is answered by then
        self._sent.order(f"phase {number}")
        began = time.time()
        generation = self._apply(move.edits, move.strategy)
        refused_generation = 0
        happens = move.disturbance
        beside = self._pool.submit(happen, self._kubectl, happens, self._random) if happens else None
        if move.refused:
            refused_generation = generation
            self._wait_refused(move)
            generation = self._apply([move.after], move.strategy)
        if beside:
            beside.result()
        ready = self._wait_served(generation)
        self._sent.order(f"phase after {number}")
        self._ask_for(move.after.names)
        return Step(
            number=number,
            kind=move.kind,
            strategy=move.strategy,
            disturbance=happens.name if happens else "",
            pods_taken=happens is not None and happens.name in TAKES_A_POD,
            before=serves(move.before, self._digests),
            after=serves(move.after, self._digests),
            never=tuple(model_revision(model, self._digests) for model in move.never),
            began=began,
            ready=ready,
            settled=time.time(),
            refused_generation=refused_generation,
        )

    def quiet(self) -> Quiet:
        """Leave the fleet alone, under load, once the operator has nothing more to write."""
        self._kubectl("rollout", "status", f"deployment/{RELEASE}", f"--namespace={OPERATOR_NAMESPACE}")
        self._sent.order(f"phase {CALM}")
        before, settled = -1, self._writes()
        while settled != before:
            self._let_pass(SETTLED_S)
            before, settled = settled, self._writes()
        began = time.time()
        self._let_pass(QUIET_S)
        return Quiet(began, time.time(), settled, self._writes())

    def _ask_for(self, adapters: Sequence[str]) -> None:
        self._sent.order(f"adapters {' '.join(adapters)}")

    def _let_pass(self, seconds: float) -> None:
        self._sent.more(int(self._rate * seconds))

    def _apply(self, edits: Sequence[Wanted], strategy: str) -> int:
        """Apply what is wanted, edit after edit at once; return the last one's generation."""
        applied = self._kubectl.apply(*(resource(edit, strategy, self._digests) for edit in edits))
        return int(applied[-1]["metadata"]["generation"])

    def _wait_refused(self, move: Move) -> None:
        (revision,) = (model_revision(model, self._digests) for model in move.never)

        def refused() -> ModelSeen | None:
            seen = self._watch.latest(ModelSeen)
            return seen if seen and revision in seen.rejected else None

        self._watch.wait_for(f"{revision} is rejected", refused, WITHIN_S)

    def _wait_served(self, generation: int) -> float:
        """Return when the resource was seen Ready for a generation, with all replicas behind the Service."""

        def served() -> ModelSeen | None:
            seen, endpoints = self._watch.latest(ModelSeen), self._watch.latest(EndpointsSeen)
            whole = endpoints is not None and endpoints.ready == REPLICAS
            return seen if seen and seen.ready_generation >= generation and whole else None

        seen = self._watch.wait_for(f"Ready for generation {generation}", served, WITHIN_S)
        return seen.time

    def _writes(self) -> int:
        return writes(self._kubectl("get", f"--raw={METRICS}"))
