"""A worker's process: it reads, decides and tells with the worker's own code, and its loads take simulated time."""

from dataclasses import dataclass, field
from random import Random

from reranker_worker.fetching.artifacts import ArtifactStatus
from reranker_worker.manifest import Manifest, ModelEntry, Source, parse_manifest
from reranker_worker.manifest_files import Reading
from reranker_worker.reconciling.decisions import decide
from reranker_worker.reconciling.state import Observation, WorkerState, worker_state
from reranker_worker.reconciling.world import (
    Action,
    AdapterLoad,
    DropAdapter,
    DropModel,
    Failure,
    Load,
    ModelLoad,
    Serve,
    Served,
    World,
)
from tests.unit.operator.simulation import sources

#: How likely the kubelet is to bring a mounted ConfigMap up to date in a second.
REFRESHED = 0.03
#: More decisions than this without an end are a worker that goes round in circles.
MOST_DECISIONS = 50


@dataclass
class Worker:
    """One process, which has nothing when it starts; first: the source of what it was to serve first."""

    template: str
    volume: str | None = None
    texts: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    first: str = ""
    models: set[str] = field(default_factory=set)
    adapters: set[tuple[str, str, str]] = field(default_factory=set)
    loading: dict[Load, tuple[int, str]] = field(default_factory=dict)
    failures: dict[Load, Failure] = field(default_factory=dict)
    served: Served = field(default_factory=Served)

    @property
    def is_silent(self) -> bool:
        """Whether it hangs, so that neither a probe nor the operator gets an answer."""
        return sources.name_of(self.first) == sources.SILENT

    def step(self, now: int, config_map: str | None, annotation: str | None, dice: Random) -> None:
        """Live through one second."""
        self._read(config_map, annotation, dice)
        self._end_loads(now)
        for _ in range(MOST_DECISIONS):
            actions = decide(self._world())
            if not actions:
                return
            for action in actions:
                self._carry_out(action, now, dice)
        raise AssertionError(f"a worker of {self.template} decides without an end: {actions}")

    def state(self, *, draining: bool) -> WorkerState:
        return worker_state(Observation(self.reading, self._world()), draining=draining)

    def _read(self, config_map: str | None, annotation: str | None, dice: Random) -> None:
        """Read the mounted ConfigMap, which is late, and the annotation, which isn't; never go back a generation."""
        if self.volume is None or dice.random() < REFRESHED:
            self.volume = config_map or self.volume
        texts = tuple(text for text in (self.volume, annotation) if text)
        if texts == self.texts:
            return
        told = [parse_manifest(text) for text in texts]
        known = [manifest for manifest in told if manifest.target(self.template) is not None]
        self.texts = texts
        self.reading = Reading(_newest(self.reading.observed, told), _newest(self.reading.effective, known))
        effective = self.reading.effective
        target = effective.target(self.template) if effective is not None else None
        if effective is not None and target is not None:
            self.first = self.first or target.source.uri
            self.failures = {load: why for load, why in self.failures.items() if _is_listed(load, effective)}

    def _end_loads(self, now: int) -> None:
        ended = [load for load, (until, _) in self.loading.items() if now >= until]
        for load in ended:
            _, reason = self.loading.pop(load)
            if reason:
                self.failures[load] = Failure(reason, "it can't be")
            elif isinstance(load, ModelLoad):
                self.models.add(load.entry.revision)
            else:
                self.adapters.add((load.model, load.name, load.revision))

    def _carry_out(self, action: Action, now: int, dice: Random) -> None:
        match action:
            case Serve(served):
                self.served = served
            case DropModel(revision):
                assert revision != self.served.model, f"a worker drops {revision}, which it answers with"
                self.models.discard(revision)
                self.adapters = {each for each in self.adapters if each[0] != revision}
            case DropAdapter(model, name, revision):
                self.adapters.discard((model, name, revision))
            case ModelLoad(entry):
                outcome = sources.model_outcome(entry.source.uri, dice)
                self.loading[action] = (now + outcome.seconds, outcome.reason)
            case AdapterLoad(model=model, source=source):
                outcome = sources.adapter_outcome(source.uri, self._base(model), dice)
                self.loading[action] = (now + outcome.seconds, outcome.reason)

    def _base(self, revision: str) -> str:
        effective = self.reading.effective
        models: tuple[ModelEntry, ...] = effective.models if effective is not None else ()
        return next((entry.source.uri for entry in models if entry.revision == revision), "")

    def _world(self) -> World:
        return World(
            template=self.template,
            manifest=self.reading.effective,
            artifacts=_artifacts(self.reading.effective),
            models=frozenset(self.models),
            adapters=frozenset(self.adapters),
            loading=frozenset(self.loading),
            failures=dict(self.failures),
            served=self.served,
        )


def _newest(before: Manifest | None, told: list[Manifest]) -> Manifest | None:
    known = [*([before] if before is not None else []), *told]
    return max(known, key=lambda manifest: manifest.generation, default=None)


def _is_listed(load: Load, manifest: Manifest) -> bool:
    if isinstance(load, ModelLoad):
        return load.entry in manifest.models
    adapters = ((entry.name, entry.revision, entry.source) for entry in manifest.adapters)
    return (load.name, load.revision, load.source) in adapters


def _artifacts(manifest: Manifest | None) -> dict[Source, ArtifactStatus]:
    if manifest is None:
        return {}
    wanted = {*(entry.source for entry in manifest.models), *(entry.source for entry in manifest.adapters)}
    return {source: sources.artifact(source.uri) for source in wanted}
