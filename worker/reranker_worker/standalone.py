"""Serving one model without Kubernetes: the manifest that `serve --model` writes for itself."""

import hashlib
import os
import re
from pathlib import Path

from reranker_worker.canonical_json import canonical_json
from reranker_worker.errors import FlagError, ManifestError
from reranker_worker.fetching.artifacts import COMPLETE, artifact_key, is_served, parse_completion
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.fetching.locks import held_if_free
from reranker_worker.manifest import AdapterEntry, Manifest, ModelEntry, Source
from reranker_worker.serving import EngineSettings, Limits
from reranker_worker.settings import ServeSettings

TEMPLATE = "standalone"
_FOLDER = "file://"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_MAX_RANK = 1024
_DRAIN_S = 30


def standalone_manifest(settings: ServeSettings) -> Manifest:
    """Return the manifest that serves what the flags say; its model is admitted, since nobody else would do it."""
    source = _source(settings.model, settings.revision or None)
    model = ModelEntry(
        revision=_revision(settings.model, source),
        source=source,
        engine=EngineSettings(dtype=settings.dtype, max_length=settings.max_length, scores=settings.scores),
    )
    return Manifest(
        generation=1,
        served_name=settings.served_name or _served_name(settings.model),
        models=(model,),
        serve=((TEMPLATE, model.revision),),
        admitted=frozenset({model.revision}),
        adapters=tuple(_adapter(name, place) for name, place in settings.adapter.items()),
        max_loaded=max(16, len(settings.adapter)),
        max_rank=_MAX_RANK,
        limits=Limits(),
        drain_s=_DRAIN_S,
        playground=settings.playground,
    )


def user_cache(settings: ServeSettings) -> ArtifactCache:
    """Return the user's own cache, unless a flag names another folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reranker-worker"
    root = settings.cache if "cache" in settings.model_fields_set else home
    run = settings.run if "run" in settings.model_fields_set else root / "run"
    return ArtifactCache(root, run)


def forget_older_copies(cache: ArtifactCache, manifest: Manifest) -> None:
    """Free the room of what the manifest's folders held before: each state of a folder is an artifact of its own."""
    sources = [model.source for model in manifest.models] + [adapter.source for adapter in manifest.adapters]
    folders = {source.uri for source in sources if source.uri.startswith(_FOLDER)}
    for key in cache.held_keys() - set(map(artifact_key, sources)):
        if _uri(cache.artifacts / key) in folders:
            with held_if_free(cache.lock(key)) as free:
                if free:
                    cache.remove(key)


def _uri(artifact: Path) -> str | None:
    try:
        return parse_completion((artifact / COMPLETE).read_bytes()).uri
    except (FileNotFoundError, ValueError):
        return None


def _adapter(name: str, place: str) -> AdapterEntry:
    source = _source(place, None)
    return AdapterEntry(name, _revision(name, source), source, required=True)


def _source(place: str, revision: str | None) -> Source:
    folder = Path(place).expanduser()
    if folder.is_dir():
        folder = folder.resolve()
        if revision is not None:
            raise FlagError(
                f"--revision {revision}: {folder} is a folder, which is served as it is; hubs have revisions"
            )
        # The state of its files names the artifact, so an edited folder is taken anew and never mixed with the old.
        return Source(f"{_FOLDER}{folder}", revision=_fingerprint(folder))
    if _HUB_ID.fullmatch(place):
        return Source(f"hf://{place}", revision=revision)
    message = f"{place}: neither a folder on this machine nor a hub's <organisation>/<name>"
    raise ManifestError("InvalidManifest", message)


def _fingerprint(folder: Path) -> str:
    statuses = {path.name: path.stat() for path in folder.iterdir() if is_served(path.name)}
    return _hash8({name: [status.st_size, status.st_mtime_ns] for name, status in statuses.items()})


def _revision(name: str, source: Source) -> str:
    label = re.sub(r"[^A-Za-z0-9.-]+", "-", name.rstrip("/").rpartition("/")[2]).strip("-.")[:54] or "model"
    return f"{label}-{_hash8({'uri': source.uri, 'revision': source.revision})}"


def _served_name(model: str) -> str:
    folder = Path(model).expanduser()
    return folder.resolve().name if folder.is_dir() else model


def _hash8(value: dict[str, object]) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:8]
