"""Making the moves on a fleet under load, one after the other, each until it is served."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

from hack.stage.cluster import OPERATOR_NAMESPACE, RELEASE
from hack.stage.kubectl import Kubectl
from hack.stage.operator_metrics import writes
from hack.stage.traffic import Traffic
from hack.swapproof.disturbances import happen
from hack.swapproof.moves import TAKES_A_POD, Move
from hack.swapproof.record import AdapterSeen, EndpointsSeen, ModelSeen, Quiet, Step
from hack.swapproof.wanted import (
    MODEL,
    OWNED_ADAPTERS,
    REPLICAS,
    Digests,
    Serves,
    Wanted,
    adapter_resources,
    model_revision,
    resource,
    serves,
)
from hack.swapproof.watching import Watch

CALM, CALM_S = "calm", 15.0  # before the first move
QUIET_S = 20.0
REST_S = 1.5  # between two moves
SETTLED_S = 3.0  # without a write after the last pod that was left over has gone
WITHIN_S = 240.0
METRICS = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/services/{RELEASE}:http/proxy/metrics"


Generations = Mapping[str, int]  # by resource


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
        applied = self._apply(move.before, move.edits, move.strategy)
        refused_generation = 0
        happens = move.disturbance
        beside = self._pool.submit(happen, self._kubectl, happens, self._random) if happens else None
        if move.refused:
            refused_generation = applied[MODEL]
            self._wait_refused(move)
            applied = self._apply(move.edits[-1], [move.after], move.strategy)
        if beside:
            beside.result()
        after = serves(move.after, self._digests)
        ready = self._wait_served(after, applied)
        self._sent.order(f"phase after {number}")
        self._ask_for(move.after.names)
        return Step(
            number=number,
            kind=move.kind,
            strategy=move.strategy,
            disturbance=happens.name if happens else "",
            pods_taken=happens is not None and happens.name in TAKES_A_POD,
            before=serves(move.before, self._digests),
            after=after,
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
        settled = whole = False
        while not (settled and whole):
            # A fleet may be kept for the way back, or drain.
            whole = len(self._kubectl.pods(MODEL, draining=True)) == REPLICAS
            before = self._writes()
            self._let_pass(SETTLED_S)
            settled = self._writes() == before
        began = time.time()
        self._let_pass(QUIET_S)
        return Quiet(began, time.time(), before, self._writes())

    def _ask_for(self, adapters: Sequence[str]) -> None:
        self._sent.order(f"adapters {' '.join(adapters)}")

    def _let_pass(self, seconds: float) -> None:
        self._sent.more(int(self._rate * seconds))

    def _apply(self, before: Wanted, edits: Sequence[Wanted], strategy: str) -> Generations:
        """Apply what is wanted, edit after edit at once; return the last generations."""
        wanted = [resource(edit, strategy, self._digests) for edit in edits]
        wanted += adapter_resources(edits[-1], self._digests)
        applied = self._kubectl.apply(*wanted)
        gone = [name for name in before.names if name in OWNED_ADAPTERS and name not in edits[-1].names]
        if gone:
            self._kubectl.remove(*(f"rerankeradapter/{name}" for name in gone))
        return {item["metadata"]["name"]: int(item["metadata"]["generation"]) for item in applied}

    def _wait_refused(self, move: Move) -> None:
        (revision,) = (model_revision(model, self._digests) for model in move.never)

        def refused() -> ModelSeen | None:
            seen = self._watch.latest(ModelSeen)
            return seen if seen and revision in seen.rejected else None

        self._watch.wait_for(f"{revision} is rejected", refused, WITHIN_S)

    def _wait_served(self, after: Serves, applied: Generations) -> float:
        """Return when the resource was seen Ready with what has to serve, with all replicas behind the Service."""
        owned = {name: generation for name, generation in applied.items() if name != MODEL}

        def served() -> ModelSeen | None:
            seen, endpoints = self._watch.latest(ModelSeen), self._watch.latest(EndpointsSeen)
            whole = endpoints is not None and endpoints.ready == REPLICAS
            ready = seen is not None and seen.ready_generation >= applied[MODEL] and seen.adapters == after.adapters
            return seen if ready and whole and self._ready_adapters(owned) else None

        return self._watch.wait_for(f"Ready for the generations {applied}", served, WITHIN_S).time

    def _ready_adapters(self, owned: Generations) -> bool:
        seen = {one.name: one for one in self._watch.seen if isinstance(one, AdapterSeen)}
        return all(name in seen and seen[name].ready_generation >= least for name, least in owned.items())

    def _writes(self) -> int:
        return writes(self._kubectl("get", f"--raw={METRICS}"))
