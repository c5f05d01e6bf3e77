"""Sources in object storage (`s3://bucket/folder`, `gs://bucket/folder`), by obstore.

What the clouds' own variables say (AWS_*, GOOGLE_*) counts as in any program that obstore is part of: keys, a region,
an endpoint, or what a workload identity sets.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError
from obstore.store import GCSStore, S3Store

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import is_served, require_weights
from reranker_worker.fetching.drafts import RemoteFile
from reranker_worker.fetching.parts import SendsAll, Span, bring
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_CHUNK_BYTES = 1 << 16  # what was gathered for a chunk is lost when a connection breaks
_CLIENT: "ClientConfig" = {
    "connect_timeout": timedelta(seconds=10),
    "read_timeout": timedelta(seconds=30),
    "timeout": timedelta(days=1),  # of a whole file: a connection that stalls ends by read_timeout
    "allow_http": True,  # whoever gives an endpoint says by its scheme what it speaks
    # Beside the system's: without any the library refuses to begin, for plain HTTP too, and small images have none.
    "root_certificate": Path(certifi.where()).read_bytes(),
}
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
_LONGEST_CAUSE = 300
_NOT_IN_PARTS = "non-partial response"  # the library's words

Store = S3Store | GCSStore


def download_objects(source: Source, partial: Path, transfer: Transfer) -> None:
    """Download the served objects of a folder; those of deeper folders don't count."""
    with _source_errors(source.uri):
        store = _store(source.uri)
        objects = obstore.list_with_delimiter(store)["objects"]
        names = {str(each["path"]): each for each in objects}
        require_weights(source.uri, names)
        files = [
            RemoteFile(name, each["size"], each["e_tag"] or each["last_modified"].isoformat())
            for name, each in sorted(names.items())
            if is_served(name)
        ]
        tags = {name: each["e_tag"] for name, each in names.items()}

        def read(file: RemoteFile, span: Span) -> Iterable[bytes]:
            options: obstore.GetOptions = {} if span.is_whole else {"range": (span.start, span.end)}
            if tag := tags[file.name]:  # a store over a file system may have none
                # An object that is overwritten meanwhile isn't what was listed: better none of it than half of each.
                options["if_match"] = tag
            try:
                return obstore.get(store, file.name, options=options).stream(_CHUNK_BYTES)
            except BaseError as error:
                if _NOT_IN_PARTS in str(error):
                    raise SendsAll from error
                raise

        bring(source.uri, files, partial, transfer, read)


def _store(uri: str) -> Store:
    scheme, _, rest = uri.partition("://")
    bucket, _, folder = rest.partition("/")
    kind = S3Store if scheme == "s3" else GCSStore
    return kind(bucket, prefix=folder or None, client_options=_CLIENT, retry_config=_RETRIES)


@contextmanager
def _source_errors(uri: str) -> Iterator[None]:
    """Translate the library's errors; the message says what to look at."""
    try:
        yield
    except (BaseError, FileNotFoundError, ValueError) as error:
        raise _source_error(uri, error) from error


def _source_error(uri: str, error: Exception) -> SourceError:
    match error, _status(error):
        case (FileNotFoundError(), _) | (_, 404):
            return SourceError("SourceNotFound", f"{uri}: there is no such bucket or object")
        case (PermissionDeniedError() | UnauthenticatedError(), _) | (_, 401 | 403):
            message = f"{uri}: the store refuses the credentials that it was given, or wants some (secretRef)"
            return SourceError("SourceUnauthorized", message)
        case PreconditionError(), _:
            return SourceError("SourceUnreachable", f"{uri}: an object was overwritten while it was downloaded")
        case _:
            cause = str(error).partition("\n")[0]
            return SourceError("SourceUnreachable", f"{uri}: {cause[:_LONGEST_CAUSE]}")


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an answer: a refused listing is told by the library's words alone."""
    found = re.search(r"status code: (\d{3})", str(error))
    return int(found[1]) if found else None
