"""A file's bytes from an offset on, asked for and answered by HTTP."""

from collections.abc import Iterator

import httpx2


def range_headers(offset: int, size: int) -> dict[str, str]:
    """Return the headers that ask for what comes after an offset, as it lies there: packed it would have no offsets."""
    return {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-{size - 1}"} if offset else {})


def rest(answer: httpx2.Response, offset: int) -> Iterator[bytes]:
    """Yield what an answer brings from an offset on; a server may send all of a file, asked for a part."""
    surplus = offset if answer.status_code == 200 else 0
    for chunk in answer.iter_raw():  # as it comes: what was gathered for a larger chunk would be lost with a break
        yield chunk[surplus:]
        surplus = max(0, surplus - len(chunk))
