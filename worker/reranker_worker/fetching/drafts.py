"""Files on their way from a remote source: bytes that came stay, across breaks and restarts, and versions never mix."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reranker_worker.errors import SourceError
from reranker_worker.fetching.transfer import Transfer


@dataclass(frozen=True)
class RemoteFile:
    """One file of a source; `version` tells its content from what lay under the same name before."""

    name: str
    size: int
    version: str


#: Yields a file's bytes from an offset on.
Read = Callable[[RemoteFile, int], Iterable[bytes]]


def bring(uri: str, files: Sequence[RemoteFile], partial: Path, transfer: Transfer, read: Read) -> None:
    """Complete the files in the partial folder, each from where an earlier try left it."""
    drafts = {_draft_name(file): file for file in files}
    for leftover in partial.iterdir():  # of another version
        if leftover.name not in drafts:
            leftover.unlink()
    transfer.expect(sum(file.size for file in files))
    for name, file in drafts.items():
        _complete(uri, file, partial / name, transfer, read)
    for name, file in drafts.items():
        (partial / name).rename(partial / file.name)


def _draft_name(file: RemoteFile) -> str:
    return f".{hashlib.sha256(f'{file.name} {file.version}'.encode()).hexdigest()[:16]}.draft"


def _complete(uri: str, file: RemoteFile, draft: Path, transfer: Transfer, read: Read) -> None:
    with draft.open("ab") as writer:
        transfer.check()
        if writer.tell() < file.size:
            for chunk in read(file, writer.tell()):
                transfer.check()
                writer.write(chunk)
        came = writer.tell()
    if came != file.size:
        if came > file.size:
            draft.unlink()  # nothing could be added to it
        message = f"{uri}: {came} bytes of {file.name} came, and its source says {file.size}"
        raise SourceError("SourceUnreachable", message)
