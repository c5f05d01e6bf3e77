"""Sources in an OCI registry (`oci://registry/repository` at the digest of a manifest), by the registry's HTTP API.

Two forms are known: artifacts whose layers are files (as `oras push` and ModelPack make them), and images whose layers
are archives with the files in their root or in /models.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from reranker_worker.errors import SourceError
from reranker_worker.fetching.archives import is_archive, is_closed_archive, unpack
from reranker_worker.fetching.artifacts import is_served, require_weights
from reranker_worker.fetching.bodies import content, range_headers
from reranker_worker.fetching.cache import file_record
from reranker_worker.fetching.drafts import RemoteFile
from reranker_worker.fetching.origins import Registries
from reranker_worker.fetching.parts import Span, bring
from reranker_worker.fetching.registry_auth import RegistryAuth, login
from reranker_worker.fetching.registry_reach import Reach
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source

_NAME = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?/[a-z0-9]+([._/-]+[a-z0-9]+)*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_TITLE = "org.opencontainers.image.title"
_FILE_NAMES = (_TITLE, "org.cncf.model.filepath")
_TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
_LARGEST_MANIFEST = 4 << 20
_HOSTS: Mapping[str, str] = {"docker.io": "registry-1.docker.io"}


@dataclass(frozen=True)
class _Layer:
    """A blob of an artifact; the digest is of the blob."""

    name: str
    digest: str
    size: int
    media_type: str
    archived: bool


def download_artifact(
    source: Source, path: str, registries: Registries, partial: Path, transfer: Transfer
) -> Mapping[str, str]:
    """Download the served files; return the sha256 that the manifest states, by file."""
    digest = source.revision or ""
    if _NAME.fullmatch(path) is None or _DIGEST.fullmatch(digest) is None:
        message = f"{source.uri} at {digest or 'no revision'}: oci://<registry>/<repository> at sha256:… is expected"
        raise SourceError("SourceNotFound", message)
    registry, _, repository = path.partition("/")
    at = f"{source.uri} at {digest}"
    with _source_errors(at), _client(at, registry, repository, registries) as client:
        found = _layers(_manifest(at, client, digest))
        layers = _wanted(at, found)
        blobs = {layer.name: layer.digest for layer in layers}

        def read(file: RemoteFile, span: Span) -> Iterator[bytes]:
            return _blob(at, client, blobs[file.name], span)

        files = [RemoteFile(layer.name, layer.size, layer.digest) for layer in layers]
        bring(source.uri, files, partial, transfer, read)
    archives = [layer for layer in layers if layer.archived]
    for layer in archives:
        _check(at, partial / layer.name, layer)
        unpack(source.uri, partial / layer.name, partial, transfer)
    if archives:
        _require_weights(source.uri, [path.name for path in partial.iterdir()], found)
        return {}
    return {layer.name: layer.digest.removeprefix("sha256:") for layer in layers}


def _client(at: str, registry: str, repository: str, registries: Registries) -> httpx2.Client:
    scheme = "http" if registry in registries.plain_http else "https"
    url = httpx2.URL(f"{scheme}://{_HOSTS.get(registry, registry)}/v2/{repository}/")
    reach = Reach(at, url)
    return httpx2.Client(
        base_url=url,
        auth=RegistryAuth(at, login(registries.docker_config, registry)),
        timeout=_TIMEOUT,
        follow_redirects=True,  # blobs often lie in a bucket; the credentials aren't sent there
        event_hooks={"request": [reach.check_request], "response": [reach.check_answer]},  # redirects', too
    )


def _manifest(at: str, client: httpx2.Client, digest: str) -> dict[str, Any]:
    """Return the manifest; of an index the first one's, since weights are the same on every platform."""
    headers = {"Accept": ", ".join(_MANIFESTS + _INDEXES)}
    with closing(_answer(at, client, f"manifests/{digest}", headers)) as answer:
        answer.raise_for_status()
        content = b""
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > _LARGEST_MANIFEST:
                raise SourceError("SourceUnreachable", f"{at}: a manifest of more than {_LARGEST_MANIFEST} bytes")
    found = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if found != digest:
        raise SourceError("DigestMismatch", f"{at}: the registry answers with a manifest whose digest is {found}")
    manifest: dict[str, Any] = json.loads(content)
    if manifest.get("mediaType") in _INDEXES:
        return _manifest(at, client, manifest["manifests"][0]["digest"])
    return manifest


def _layers(manifest: dict[str, Any]) -> list[_Layer]:
    layers = []
    for number, layer in enumerate(manifest["layers"]):
        annotations = layer.get("annotations") or {}
        title = next((annotations[name] for name in _FILE_NAMES if name in annotations), "")
        # oras calls a plain file a tar unless it is told what it pushes: the file's own name is what tells.
        archived = is_archive(layer["mediaType"]) and not is_served(annotations.get(_TITLE, ""))
        name = f"layer-{number}.tar" if archived else title
        layers.append(_Layer(name, layer["digest"], layer["size"], layer["mediaType"], archived))
    return layers


def _wanted(at: str, layers: list[_Layer]) -> list[_Layer]:
    """Return the layers that are served files; where none is a file, the archives."""
    files = [layer for layer in layers if not layer.archived]
    archives = [layer for layer in layers if layer.archived]
    if archives and not any(is_served(layer.name) for layer in files):
        return archives
    _require_weights(at, [layer.name for layer in files], layers)
    return [layer for layer in files if is_served(layer.name)]


def _require_weights(at: str, names: Iterable[str], layers: list[_Layer]) -> None:
    """Refuse what has no weights, and name the archives among the layers that may hold some and can't be opened."""
    try:
        require_weights(at, names)
    except SourceError as error:
        closed = sorted({layer.media_type for layer in layers if is_closed_archive(layer.media_type)})
        if not closed:
            raise
        message = f"{error.message}; its layers of {', '.join(closed)} can't be unpacked: tar and tar+gzip can"
        raise SourceError(error.reason, message) from error


def _blob(at: str, client: httpx2.Client, digest: str, span: Span) -> Iterator[bytes]:
    with closing(_answer(at, client, f"blobs/{digest}", range_headers(span))) as answer:
        answer.raise_for_status()
        yield from content(answer, span)


def _answer(at: str, client: httpx2.Client, path: str, headers: Mapping[str, str]) -> httpx2.Response:
    """Return the answer, its body still to be read; a login that can't be understood isn't a malformed manifest."""
    try:
        return client.send(client.build_request("GET", path, headers=headers), stream=True)
    except (AttributeError, KeyError, TypeError, ValueError, httpx2.InvalidURL) as error:
        message = (
            f"{at}: the registry wants a login and doesn't say where, or its token server answered without a token "
            f"({type(error).__name__}: {error})"
        )
        raise SourceError("SourceUnreachable", message) from error


def _check(at: str, blob: Path, layer: _Layer) -> None:
    found = f"sha256:{file_record(blob).sha256}"
    if found != layer.digest:
        blob.unlink()
        raise SourceError(
            "DigestMismatch", f"{at}: a layer has the digest {found}, and the manifest says {layer.digest}"
        )


@contextmanager
def _source_errors(at: str) -> Iterator[None]:
    """Translate the library's errors and malformed answers; the message says what to look at."""
    try:
        yield
    except httpx2.HTTPStatusError as error:
        raise _status_error(at, error.response.status_code) from error
    except httpx2.HTTPError as error:
        raise SourceError("SourceUnreachable", f"{at}: the registry didn't answer ({type(error).__name__})") from error
    except (KeyError, IndexError, TypeError, ValueError) as error:
        message = f"{at}: neither an OCI artifact's nor an image's manifest ({type(error).__name__}: {error})"
        raise SourceError("SourceNotFound", message) from error


def _status_error(at: str, status: int) -> SourceError:
    match status:
        case 401 | 403:
            return SourceError(
                "SourceUnauthorized", f"{at}: the registry refuses the credentials, or wants some (secretRef)"
            )
        case 404:
            return SourceError("SourceNotFound", f"{at}: the registry has no such repository, manifest or blob")
        case _:
            return SourceError("SourceUnreachable", f"{at}: the registry answered {status}")
