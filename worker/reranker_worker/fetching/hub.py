"""Sources on a Hugging Face hub (`hf://org/name` at a revision), by the real huggingface_hub client."""

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self, cast

import httpx2
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoSibling

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import is_served, require_weights
from reranker_worker.fetching.origins import Hub
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source

_TIMEOUT_S = 30.0
_WORKERS = 4
_SHOWN_CHARACTERS = 60
_STATE_FOLDER = ".cache"  # where the library keeps what it needs to go on after an interruption


def download_snapshot(
    source: Source, repository: str, hub: Hub, partial: Path, transfer: Transfer
) -> Mapping[str, str]:
    """Download the served files; return the sha256 that the hub states, by file. Whole files are kept."""
    with _source_errors(source, hub):
        commit, files = _listing(repository, source.revision, hub)
        require_weights(source.uri, [file.rfilename for file in files])
        served = [file for file in files if is_served(file.rfilename)]
        _remove_broken_off(partial)
        transfer.expect(sum(file.size or 0 for file in served))
        snapshot_download(
            repository,
            revision=commit,
            endpoint=hub.endpoint,
            token=hub.token,
            local_dir=partial,
            # The library's own cache would be a second copy; it only keeps its reference files there.
            cache_dir=partial / _STATE_FOLDER / "hub",
            allow_patterns=[file.rfilename for file in served],
            ignore_patterns=["*/*"],
            max_workers=_WORKERS,
            etag_timeout=_TIMEOUT_S,
            tqdm_class=_interrupter(transfer.check),
        )
    shutil.rmtree(partial / _STATE_FOLDER)
    names = {file.rfilename for file in served}
    for leftover in partial.iterdir():  # of a branch that has moved since an earlier try
        if leftover.name not in names:
            leftover.unlink()
    return {file.rfilename: file.lfs.sha256 for file in served if file.lfs is not None}


def _remove_broken_off(partial: Path) -> None:
    """Remove what a killed process left of files: the library begins each anew, under another name every time."""
    for leftover in (partial / _STATE_FOLDER).rglob("*.incomplete"):
        leftover.unlink()


def _listing(repository: str, revision: str | None, hub: Hub) -> tuple[str, list[RepoSibling]]:
    """Return the commit that a revision stands for, and its files."""
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    info = api.model_info(repository, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
    return info.sha or revision or "main", info.siblings or []


@contextmanager
def _source_errors(source: Source, hub: Hub) -> Iterator[None]:
    """Translate the library's errors; the message says what to change."""
    at = f"{source.uri} at revision {source.revision or 'main'}"
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
    except ValueError as error:
        raise SourceError("SourceUnreachable", f"{at}: {_unreadable(error)}") from error
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise
        cause = _root_cause(error)
        raise SourceError("SourceUnreachable", f"{at}: the download broke off ({cause})") from error


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


def _unreadable(error: ValueError) -> str:
    """Say what came in place of an answer: the sign-in page of a proxy, above all."""
    if isinstance(error, json.JSONDecodeError):
        return f"the hub's answer isn't JSON and begins with {error.doc[:_SHOWN_CHARACTERS]!r}"
    return f"the hub's answer can't be read ({type(error).__name__})"


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__


def _interrupter(check: Callable[[], None]) -> type:
    """Return a silent progress bar that lets `check` end the download: the library offers no other way to stop it."""

    class Interrupter:
        n = 0
        total: float | None = 0

        def __init__(self, *_: object, **options: object) -> None:
            self.total = cast("float | None", options.get("total"))

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def update(self, _: float | None = 1) -> None:
            check()

        def close(self) -> None:
            return

        def refresh(self, *_: object, **__: object) -> None:
            return

        set_description = set_description_str = set_postfix_str = refresh

    return Interrupter
