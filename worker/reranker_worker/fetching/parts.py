"""Brings the files of a remote source in parts, several at a time.

A storage gives each connection some tens of megabytes a second, however many the node could take: S3's own guide counts
on 85 to 90 MB/s.
"""

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from reranker_worker.errors import SourceError
from reranker_worker.fetching.drafts import Draft, Part, RemoteFile, note_came
from reranker_worker.fetching.transfer import Transfer

PART_BYTES = 64 << 20  # hubs bound how often they are asked, and registries send on to a bucket for each part
CONNECTIONS = 4


@dataclass(frozen=True)
class Span:
    """The bytes from `start` up to `end` of a file that has `size`."""

    start: int
    end: int
    size: int

    @property
    def is_whole(self) -> bool:
        """Tell whether these are all bytes of the file."""
        return (self.start, self.end) == (0, self.size)


#: Yields the bytes of a span of a file; raises SendsAll where only whole files are to be had.
Read = Callable[[RemoteFile, Span], Iterable[bytes]]


class SendsAll(Exception):
    """A server sends all of a file that it is asked for a part of."""


def bring(uri: str, files: Sequence[RemoteFile], partial: Path, transfer: Transfer, read: Read) -> None:
    """Complete the files in the partial folder, each from where an earlier try left it; what came whole stays."""
    total_bytes = sum(file.size for file in files)
    transfer.expect(total_bytes)
    if total_bytes > (disk := shutil.disk_usage(partial).total):
        message = f"{uri}: the cache's disk has {disk} bytes, and the source says that its files have {total_bytes}"
        raise SourceError("DiskFull", message)
    try:
        _Errand(uri, transfer, read).bring([Draft(file, partial, PART_BYTES) for file in files], partial)
    except SendsAll:
        whole = [Draft(file, partial, max(file.size, 1)) for file in files]
        _Errand(uri, transfer, read, in_parts=False).bring(whole, partial)


@dataclass(frozen=True)
class _Errand:
    uri: str
    transfer: Transfer
    read: Read
    in_parts: bool = True
    _failed: threading.Event = field(default_factory=threading.Event)

    def bring(self, drafts: Sequence[Draft], partial: Path) -> None:
        _tidy(partial, {path for draft in drafts for path in draft.kept()})
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="part") as pool:
            try:
                self._settle_all([draft for draft in drafts if not draft.is_settled()], pool)
            finally:
                self._failed.set()  # or there is nothing left to do
                pool.shutdown(cancel_futures=True)

    def _settle_all(self, drafts: Sequence[Draft], pool: ThreadPoolExecutor) -> None:
        under_way: dict[Future[None], Draft] = {}
        for draft in drafts:
            draft.begin()
            missing = [part for part in draft.parts() if not part.is_complete]
            under_way |= {pool.submit(self._complete, draft, part): draft for part in missing}
            if not missing:
                draft.settle()
        left = Counter(under_way.values())
        for completed in as_completed(under_way):
            completed.result()
            draft = under_way[completed]
            left[draft] -= 1
            if not left[draft]:
                draft.settle()

    def _complete(self, draft: Draft, part: Part) -> None:
        came = part.came if self.in_parts else 0
        with draft.path.open("r+b") as writer, draft.record.open("r+b") as record:
            writer.seek(part.start + came)
            self.transfer.check()
            for chunk in self.read(draft.file, Span(part.start + came, part.end, draft.file.size)):
                self.transfer.check()
                if self._failed.is_set():
                    return
                if part.start + came + len(chunk) > part.end:
                    note_came(record.fileno(), part, 0)  # nothing could be added to it
                    message = f"{self.uri}: {draft.file.name} goes on beyond the {part.end} bytes that were asked for"
                    raise SourceError("DigestMismatch", message)
                writer.write(chunk)
                writer.flush()
                came += len(chunk)
                note_came(record.fileno(), part, came)
        if part.start + came < part.end:
            message = f"{self.uri}: {draft.file.name} ended after {part.start + came} bytes of {part.end}"
            raise SourceError("SourceUnreachable", message)


def _tidy(partial: Path, kept: set[Path]) -> None:
    for leftover in partial.iterdir():  # of another version, or made of the files since
        if leftover in kept:
            continue
        if leftover.is_dir() and not leftover.is_symlink():  # an earlier build's fetchers left some, too
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
