"""A part of a file, as it is asked for and answered by HTTP."""

from collections.abc import Iterator

import httpx2

from reranker_worker.fetching.drafts import Span
from reranker_worker.fetching.parts import SendsAll


def range_headers(span: Span) -> dict[str, str]:
    """Return the headers that ask for bytes of a file as it lies there: packed it would have no offsets."""
    return {"Accept-Encoding": "identity"} | ({} if span.is_whole else {"Range": f"bytes={span.start}-{span.end - 1}"})


def content(answer: httpx2.Response, span: Span) -> Iterator[bytes]:
    """Yield what an answer brings of the span; raises SendsAll where it is all of the file, and more at its end."""
    sends_all = answer.status_code == 200
    if sends_all and span.end < span.size:
        raise SendsAll
    surplus = span.start if sends_all else 0
    for chunk in answer.iter_raw():  # as it comes: what was gathered for a larger chunk would be lost with a break
        yield chunk[surplus:]
        surplus = max(0, surplus - len(chunk))
