"""Sources on a Hugging Face hub (`hf://org/name` at a revision).

huggingface_hub resolves the revision and lists the files; they come as those of other sources do, so that bytes which
came stay, and each is what the list says: its size, and the sha256 of what LFS keeps or git's hash of the rest.
A mirror may say less: its entity tags tell versions from each other, and what looks like a sha256 is taken for one.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import is_served, require_weights
from reranker_worker.fetching.bodies import content, range_headers
from reranker_worker.fetching.drafts import RemoteFile
from reranker_worker.fetching.origins import Hub
from reranker_worker.fetching.parts import Span, bring
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source

_TIMEOUT_S = 30.0
_TIMEOUT = httpx2.Timeout(_TIMEOUT_S, connect=10.0)
_BREAKS = 5  # of a part's connections that each brought something, until a try has failed
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN_CHARACTERS = 60


def download_snapshot(
    source: Source, repository: str, hub: Hub, partial: Path, transfer: Transfer
) -> Mapping[str, str]:
    """Download the served files; return the sha256 that the hub states, by file."""
    with _source_errors(source, hub), _client(hub) as client:
        commit, listed = _listing(_at(source), repository, source.revision, hub)
        require_weights(source.uri, [file.rfilename for file in listed])
        served = {file.rfilename: file for file in listed if is_served(file.rfilename)}
        urls = {name: hf_hub_url(repository, name, revision=commit, endpoint=hub.endpoint) for name in served}
        files = [_remote_file(source.uri, file, commit, urls[name], hub) for name, file in served.items()]

        def read(file: RemoteFile, span: Span) -> Iterator[bytes]:
            return _content(client, urls[file.name], span)

        bring(source.uri, files, partial, transfer, read)
    for name, file in served.items():
        if file.lfs is None and file.blob_id is not None:
            _check_git_hash(source.uri, partial / name, file.blob_id)
    return {file.name: file.version for file in files if _SHA256.fullmatch(file.version)}


def _client(hub: Hub) -> httpx2.Client:
    """Return a client of its own: the library's is closed for everyone when one of its requests finds no connection."""
    # Large files lie elsewhere; the token isn't sent there.
    return httpx2.Client(headers=build_hf_headers(token=hub.token), timeout=_TIMEOUT, follow_redirects=True)


def _listing(at: str, repository: str, revision: str | None, hub: Hub) -> tuple[str, list[RepoSibling]]:
    """Return the commit that a revision stands for, and its files."""
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    with _parse_errors(at):
        info = api.model_info(repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
    return info.sha or revision or "main", info.siblings or []


def _stated(file: RepoSibling) -> str | None:
    """Return the hash that the list states of a file: the sha256 of what LFS keeps, git's of the rest."""
    return file.lfs.sha256 if file.lfs is not None else file.blob_id


def _remote_file(uri: str, file: RepoSibling, commit: str, url: str, hub: Hub) -> RemoteFile:
    """Return what is to come; its version is the hash that the list states, else what the file itself is told by."""
    size, version = file.size, _stated(file)
    if size is None or version is None:  # a mirror may list names alone
        told = get_hf_file_metadata(url, token=hub.token, timeout=_TIMEOUT_S, endpoint=hub.endpoint)
        size, version = told.size, told.etag or commit
    if size is None:
        message = f"{uri}: the hub states the size of {file.rfilename} neither in its list nor for the file itself"
        raise SourceError("SourceUnreachable", message)
    return RemoteFile(file.rfilename, size, version)


def _content(client: httpx2.Client, url: str, span: Span) -> Iterator[bytes]:
    """Yield a span's bytes; where a connection breaks that brought some, the next one goes on."""
    for breaks_left in reversed(range(_BREAKS + 1)):
        before = span
        try:
            with client.stream("GET", url, headers=range_headers(span)) as answer:
                hf_raise_for_status(answer)
                for chunk in content(answer, span):
                    span = replace(span, start=span.start + len(chunk))
                    yield chunk
                return
        except httpx2.TransportError:
            if span == before or not breaks_left:
                raise


def _check_git_hash(uri: str, path: Path, stated: str) -> None:
    """Refuse a file that isn't what git has under its hash: sha1 of `blob <size>`, a NUL and the content."""
    content = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: content).hexdigest()
    if found != stated:
        path.unlink()
        raise SourceError("DigestMismatch", f"{uri}: {path.name} has the git hash {found}, and the hub says {stated}")


def _at(source: Source) -> str:
    return f"{source.uri} at revision {source.revision or 'main'}"


@contextmanager
def _source_errors(source: Source, hub: Hub) -> Iterator[None]:
    """Translate the library's errors; the message says what to change."""
    at = _at(source)
    try:
        yield
    except (RevisionNotFoundError, EntryNotFoundError) as error:
        raise SourceError("SourceNotFound", f"{at}: the repository has no such revision or file") from error
    except HFValidationError as error:
        raise SourceError("SourceNotFound", f"{at}: not a repository's name; hf://org/name is") from error
    except HfHubHTTPError as error:
        raise _http_error(at, hub, error) from error
    except httpx2.HTTPError as error:
        raise SourceError("SourceUnreachable", f"{at}: the hub didn't answer ({type(error).__name__})") from error
    except OfflineModeIsEnabled as error:
        raise SourceError("SourceUnreachable", f"{at}: HF_HUB_OFFLINE is set, so the hub isn't asked") from error


@contextmanager
def _parse_errors(at: str) -> Iterator[None]:
    """Translate what the library meets in an answer that isn't a hub's: the sign-in page of a proxy, above all."""
    try:
        yield
    except HFValidationError:  # a ValueError, of our own question
        raise
    except json.JSONDecodeError as error:
        said = f"isn't JSON and begins with {error.doc[:_SHOWN_CHARACTERS]!r}"
        raise SourceError("SourceUnreachable", f"{at}: the hub's answer {said}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(
            "SourceUnreachable", f"{at}: the hub's answer can't be read ({type(error).__name__})"
        ) from error


def _http_error(at: str, hub: Hub, error: HfHubHTTPError) -> SourceError:
    status = error.response.status_code
    tried = "with the given token" if hub.token else "and no token was given (secretRef)"
    if isinstance(error, GatedRepoError) or status == 403:
        return SourceError("SourceUnauthorized", f"{at}: access is restricted {tried}")
    if status == 401:
        # The hub hides private repositories: without a credential it says the same of those that don't exist.
        return SourceError("SourceUnauthorized", f"{at}: the hub wants a credential or has no such repository, {tried}")
    if isinstance(error, RepositoryNotFoundError) or status == 404:
        return SourceError("SourceNotFound", f"{at}: the hub has no such repository, or it is private {tried}")
    return SourceError("SourceUnreachable", f"{at}: the hub answered {status}")
