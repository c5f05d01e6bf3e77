"""One artifact's way into the cache: source → partial folder → digest check → COMPLETE → rename."""

from collections.abc import Mapping
from pathlib import Path

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import Completion, FileRecord, artifact_digest, artifact_key
from reranker_worker.fetching.cache import ArtifactCache, disk_errors, served_files
from reranker_worker.fetching.drafts import remove_notes
from reranker_worker.fetching.folders import copy_claim, copy_folder
from reranker_worker.fetching.image_volume import link_image, mounted_image
from reranker_worker.fetching.locks import held_in_turn
from reranker_worker.fetching.origins import Origins
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source


def fetch_artifact(source: Source, cache: ArtifactCache, origins: Origins, transfer: Transfer) -> Completion:
    """Bring one artifact into the cache; raises SourceError or Cancelled, and leaves nothing published then."""
    if cache.read_only:
        return _found(source, cache)
    partial = cache.partial(source)
    with disk_errors(source.uri), held_in_turn(cache.lock(artifact_key(source)), transfer):
        if (completion := cache.completion(source)) is not None:
            return completion  # another fetcher of this cache brought it meanwhile
        partial.mkdir(parents=True, exist_ok=True)
        expected = _transfer(source, partial, origins, transfer)
        transfer.check()
        files = served_files(partial)
        try:
            _check_files(source, files, expected)
            completion = Completion(source.uri, source.revision, _checked_digest(source, files), files)
        except SourceError:
            cache.discard_partial(source)  # resuming on top of wrong bytes would never come right
            raise
        cache.publish(source, completion)
        remove_notes(cache.artifact(source))  # not before: until then a killed fetcher's successor needs them
    return completion


def _found(source: Source, cache: ArtifactCache) -> Completion:
    completion = cache.completion(source)
    if completion is None:
        message = (
            f"{source.uri}: isn't in the cache, which is read only (cache.readOnly); a model with the same source "
            "whose cache can be written brings it there"
        )
        raise SourceError("NotInCache", message)
    return completion


def _transfer(source: Source, partial: Path, origins: Origins, transfer: Transfer) -> Mapping[str, str]:
    """Fill the partial folder; return the sha256 that the source itself states, by file."""
    # Each client is imported where it is needed: their imports take longer than what a worker that finds its model in
    # the cache does until it listens, and their binaries take memory that most fetchers have no use for.
    scheme, _, rest = source.uri.partition("://")
    match scheme:
        case "pvc":
            copy_claim(source.uri, rest, origins.claims, partial, transfer)
            return {}
        case "hf":
            from reranker_worker.fetching.hub import download_snapshot  # noqa: PLC0415

            return download_snapshot(source, rest, origins.hub, partial, transfer)
        case "s3" | "gs":
            from reranker_worker.fetching.buckets import download_objects  # noqa: PLC0415

            download_objects(source, partial, transfer)
            return {}
        case "oci" if (image := mounted_image(source, origins.images)) is not None:
            link_image(source.uri, image, partial)
            return {}
        case "oci":
            from reranker_worker.fetching.registry import download_artifact  # noqa: PLC0415

            return download_artifact(source, rest, origins.registries, partial, transfer)
        case "file" if origins.local_folders:
            copy_folder(source.uri, Path(rest), partial, transfer)
            return {}
        case _:
            message = f"{source.uri}: no such kind of source; hf://, s3://, gs://, oci:// and pvc:// are known"
            raise SourceError("SourceNotFound", message)


def _check_files(source: Source, files: Mapping[str, FileRecord], expected: Mapping[str, str]) -> None:
    for path, sha256 in expected.items():
        found = files[path].sha256 if path in files else "no file"
        if found != sha256:
            message = f"{source.uri}: {path} has sha256 {found}, and its source says {sha256}"
            raise SourceError("DigestMismatch", message)


def _checked_digest(source: Source, files: Mapping[str, FileRecord]) -> str:
    digest = artifact_digest(files)
    if source.digest is not None and digest != source.digest:
        message = f"{source.uri}: the digest of its files is {digest}, and the manifest wants {source.digest}"
        raise SourceError("DigestMismatch", message)
    return digest
