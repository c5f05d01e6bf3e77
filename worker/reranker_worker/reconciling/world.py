"""What a worker wants, has and does next, as plain frozen data. No I/O, no torch."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from reranker_worker.fetching.artifacts import ArtifactStatus
from reranker_worker.manifest import Manifest, ModelEntry, Source


@dataclass(frozen=True)
class ModelLoad:
    """One try to load a model; a failed one is repeated only when something in it changes."""

    entry: ModelEntry
    digest: str


@dataclass(frozen=True)
class AdapterLoad:
    """One try to load an adapter onto a model; a failed one is repeated only when something in it changes."""

    model: str
    name: str
    revision: str
    source: Source
    digest: str
    max_rank: int


Load = ModelLoad | AdapterLoad


@dataclass(frozen=True)
class Failure:
    """Why a load failed."""

    reason: str
    message: str


@dataclass(frozen=True)
class Beside:
    """A model in memory beside the one that answers: its adapters, and whether clients may have it."""

    adapters: Mapping[str, str] = field(default_factory=dict)
    admitted: bool = False


@dataclass(frozen=True)
class Served:
    """What the engine answers with, by revision; adapters are name → revision, owners name → whose that is,
    where it isn't the model's own.
    """

    model: str | None = None
    adapters: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0
    others: Mapping[str, Beside] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)

    def adapters_of(self, model: str) -> Mapping[str, str]:
        """Return the adapters of a model in memory."""
        if model == self.model:
            return self.adapters
        return self.others[model].adapters if model in self.others else {}


@dataclass(frozen=True)
class World:
    """Everything that a decision depends on.

    models: revisions in memory. adapters: (model revision, adapter name, adapter revision) in memory.
    leaving: revisions that were dropped and still take room, since a request is being scored by them.
    max_lengths: most tokens of a pair, by revision in memory: what is asked for, or fewer where a model takes no more.
    """

    template: str
    manifest: Manifest | None = None
    artifacts: Mapping[Source, ArtifactStatus] = field(default_factory=dict)
    models: AbstractSet[str] = frozenset()
    adapters: AbstractSet[tuple[str, str, str]] = frozenset()
    leaving: AbstractSet[str] = frozenset()
    loading: AbstractSet[Load] = frozenset()
    failures: Mapping[Load, Failure] = field(default_factory=dict)
    served: Served = field(default_factory=Served)
    max_lengths: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Serve:
    """Swap the engine's reference."""

    served: Served


@dataclass(frozen=True)
class DropModel:
    """Forget a model; it is freed with its last request."""

    revision: str


@dataclass(frozen=True)
class DropAdapter:
    """Forget an adapter; it is freed with its last request."""

    model: str
    name: str
    revision: str


Action = Load | Serve | DropModel | DropAdapter
