"""The serving manifest: what a worker must serve, parsed from the document that the operator writes. No I/O."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from reranker_worker.errors import ManifestError
from reranker_worker.serving import DType, EngineSettings, Limits


@dataclass(frozen=True)
class Source:
    """Where an artifact comes from; together with its revision and digest it names one artifact for ever."""

    uri: str
    revision: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class ModelEntry:
    """One model revision that a template may serve."""

    revision: str
    source: Source
    engine: EngineSettings


@dataclass(frozen=True)
class AdapterEntry:
    """One adapter revision; `required` once the fleet has had it ready, `owner` is who brings it, "" the model."""

    name: str
    revision: str
    source: Source
    required: bool = False
    owner: str = ""


@dataclass(frozen=True)
class Manifest:
    """What the workers of one model must serve; adapters stand in order of preference per name."""

    generation: int
    served_name: str
    models: tuple[ModelEntry, ...]
    serve: tuple[tuple[str, str], ...]
    admitted: frozenset[str]
    adapters: tuple[AdapterEntry, ...]
    max_loaded: int
    max_rank: int
    limits: Limits
    drain_s: float
    candidates: tuple[tuple[str, str], ...] = ()
    parked: frozenset[str] = frozenset()
    shadow_percent: int = 0
    max_bytes: int | None = None
    prefetch: tuple[str, ...] = ()
    playground: bool = False

    def target(self, template: str) -> ModelEntry | None:
        """Return the entry that pods of this template serve, or None where the manifest doesn't know the template."""
        return self._entry(dict(self.serve).get(template))

    def candidate(self, template: str) -> ModelEntry | None:
        """Return the entry that pods of this template load beside what they serve, or None."""
        candidate = self._entry(dict(self.candidates).get(template))
        return candidate if candidate != self.target(template) else None

    @property
    def prefetched(self) -> tuple[ModelEntry, ...]:
        """Return the entries whose files are fetched ahead, for pods that aren't made yet."""
        return tuple(entry for entry in self.models if entry.revision in self.prefetch)

    def _entry(self, revision: str | None) -> ModelEntry | None:
        return next((entry for entry in self.models if entry.revision == revision), None)


def parse_manifest(text: str | bytes) -> Manifest:
    """Parse one manifest document; raises ManifestError with the first member that is wrong and why."""
    try:
        document = _Document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "document"
        raise ManifestError("InvalidManifest", f"serving manifest: {where}: {first['msg']}") from error
    manifest = document.manifest()
    revisions = {entry.revision for entry in manifest.models}
    for member, named in (("serve", manifest.serve), ("candidates", manifest.candidates)):
        for template, revision in named:
            if revision not in revisions:
                message = (
                    f"serving manifest: {member}.{template} names {revision}, which isn't one of models[].revision"
                )
                raise ManifestError("InvalidManifest", message)
    return manifest


def newest(manifests: Iterable[Manifest]) -> Manifest | None:
    """Return the manifest of the highest generation; of equal ones the first."""
    return max(manifests, key=lambda manifest: manifest.generation, default=None)


def resource_name(revision: str) -> str:
    """Return the name of the RerankerModel that a model revision `<model>-<hash8>` belongs to."""
    return revision.rpartition("-")[0] or revision


_Text = Annotated[str, Field(min_length=1, max_length=2048)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=128)]
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Member(BaseModel):
    # Members that a newer operator adds mean nothing to this worker and must not stop it from serving.
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class _Source(_Member):
    uri: _Text
    revision: _Text | None = None
    digest: _Digest | None = None

    def source(self) -> Source:
        return Source(self.uri, self.revision, self.digest)


class _Engine(_Member):
    dtype: DType = "auto"
    max_length: Annotated[int, Field(ge=8, le=131_072)] = 512
    scores: Literal["sigmoid", "raw"] = "sigmoid"


class _Model(_Member):
    revision: _Name
    source: _Source
    engine: _Engine = _Engine()

    def entry(self) -> ModelEntry:
        engine = EngineSettings(dtype=self.engine.dtype, max_length=self.engine.max_length, scores=self.engine.scores)
        return ModelEntry(self.revision, self.source.source(), engine)


class _Adapter(_Member):
    name: _Name
    revision: _Name
    source: _Source
    required: bool = False
    owner: Annotated[str, Field(max_length=256)] = ""

    def entry(self) -> AdapterEntry:
        return AdapterEntry(self.name, self.revision, self.source.source(), self.required, self.owner)


class _AdapterPolicy(_Member):
    max_loaded: Annotated[int, Field(ge=0, le=1024)] = 16
    max_rank: Annotated[int, Field(ge=1, le=1024)] = 64
    max_bytes: Annotated[int | None, Field(ge=0)] = None


class _Limits(_Member):
    max_batch_tokens: Annotated[int, Field(ge=16, le=10_000_000)] = 16_384
    max_queue_tokens: Annotated[int, Field(ge=16, le=1_000_000_000)] = 400_000


class _Shadow(_Member):
    percent: Annotated[int, Field(ge=0, le=100)] = 0


class _Document(_Member):
    generation: Annotated[int, Field(ge=0)]
    served_name: _Text
    models: Annotated[list[_Model], Field(min_length=1, max_length=64)]
    serve: Annotated[dict[_Name, _Name], Field(max_length=64)]
    candidates: Annotated[dict[_Name, _Name], Field(max_length=64)] = {}
    parked: Annotated[list[_Name], Field(max_length=64)] = []
    shadow: _Shadow = _Shadow()
    admitted: Annotated[list[_Name], Field(max_length=64)] = []
    adapters: Annotated[list[_Adapter], Field(max_length=2048)] = []
    adapter_policy: _AdapterPolicy = _AdapterPolicy()
    limits: _Limits = _Limits()
    prefetch: Annotated[list[_Name], Field(max_length=64)] = []
    playground: bool = False
    drain_seconds: Annotated[float, Field(ge=0, le=3600)] = 30

    def manifest(self) -> Manifest:
        return Manifest(
            generation=self.generation,
            served_name=self.served_name,
            models=tuple(model.entry() for model in self.models),
            serve=tuple(sorted(self.serve.items())),
            admitted=frozenset(self.admitted),
            adapters=tuple(adapter.entry() for adapter in self.adapters),
            max_loaded=self.adapter_policy.max_loaded,
            max_rank=self.adapter_policy.max_rank,
            limits=Limits(max_batch_tokens=self.limits.max_batch_tokens, max_queue_tokens=self.limits.max_queue_tokens),
            drain_s=self.drain_seconds,
            candidates=tuple(sorted(self.candidates.items())),
            parked=frozenset(self.parked),
            shadow_percent=self.shadow.percent,
            max_bytes=self.adapter_policy.max_bytes,
            prefetch=tuple(self.prefetch),
            playground=self.playground,
        )
