"""A part of a file, as it is asked for and answered by HTTP."""

import re
from collections.abc import Iterator

import httpx2

from reranker_worker.fetching.parts import SendsAll, Span

_FIRST = re.compile(r"bytes (\d+)-")


def range_headers(span: Span) -> dict[str, str]:
    """Return the headers that ask for bytes of a file as it lies there: packed it would have no offsets."""
    return {"Accept-Encoding": "identity"} | ({} if span.is_whole else {"Range": f"bytes={span.start}-{span.end - 1}"})


def content(answer: httpx2.Response, span: Span) -> Iterator[bytes]:
    """Yield what an answer brings of the span, as it comes: what was gathered for a larger chunk a break would lose.

    Raises SendsAll where it brings all of the file, and RemoteProtocolError where it brings another part.
    """
    if not span.is_whole:
        if answer.status_code == 200:
            raise SendsAll
        found = _FIRST.match(answer.headers.get("Content-Range", ""))
        if found is not None and int(found[1]) != span.start:
            raise httpx2.RemoteProtocolError(f"asked for the bytes from {span.start} on, it sent those from {found[1]}")
    yield from answer.iter_raw()
