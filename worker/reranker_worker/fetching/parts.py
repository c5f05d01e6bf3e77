"""Brings the files of a remote source in parts, several at a time.

A storage gives each connection some tens of megabytes a second, however many the node could take: S3's own guide counts
on 85 to 90 MB/s.
"""

import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from reranker_worker.errors import SourceError
from reranker_worker.fetching.drafts import Draft, Part, RemoteFile, Span
from reranker_worker.fetching.transfer import Transfer

PART_BYTES = 64 << 20  # hubs bound how often they are asked, and registries send on to a bucket for each part
CONNECTIONS = 4

#: Yields the bytes of a span of a file; raises SendsAll where only whole files are to be had.
Read = Callable[[RemoteFile, Span], Iterable[bytes]]


class SendsAll(Exception):
    """A server sends all of a file that it is asked for a part of."""


def bring(uri: str, files: Sequence[RemoteFile], partial: Path, transfer: Transfer, read: Read) -> None:
    """Complete the files in the partial folder, each from where an earlier try left it; what came whole stays."""
    try:
        _Errand(uri, partial, transfer, read).bring([Draft(file, partial, PART_BYTES) for file in files])
    except SendsAll:
        _Errand(uri, partial, transfer, read).bring([Draft(file, partial, max(file.size, 1)) for file in files])


@dataclass(frozen=True)
class _Errand:
    uri: str
    partial: Path
    transfer: Transfer
    read: Read

    def bring(self, drafts: Sequence[Draft]) -> None:
        self._tidy(drafts)
        self.transfer.expect(sum(draft.file.size for draft in drafts))
        sent_all = threading.Event()
        with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="part") as pool:
            under_way: dict[Future[None], Draft] = {}
            for draft in drafts:
                draft.join()
                if not draft.is_settled():
                    under_way |= {pool.submit(self._add, draft.file, part, sent_all): draft for part in draft.missing()}
            try:
                for added in as_completed(under_way):
                    added.result()
                    under_way[added].join()
            except SendsAll:
                sent_all.set()
                raise
            finally:
                pool.shutdown(cancel_futures=True)  # what has begun is completed: a further try needn't bring it

    def _tidy(self, drafts: Sequence[Draft]) -> None:
        kept = {path for draft in drafts for path in draft.kept()}
        for leftover in self.partial.iterdir():  # of another version, or made of the files since
            if leftover in kept:
                continue
            if leftover.is_dir() and not leftover.is_symlink():  # an earlier build's fetchers left some, too
                shutil.rmtree(leftover)
            else:
                leftover.unlink()

    def _add(self, file: RemoteFile, part: Part, sent_all: threading.Event) -> None:
        """Complete a part, or leave it as it is once parts are of no use."""
        self.transfer.check()
        with part.path.open("ab") as writer:
            for chunk in self.read(file, Span(part.start + writer.tell(), part.end, file.size)):
                self.transfer.check()
                if sent_all.is_set():
                    return
                if part.start + writer.tell() + len(chunk) > part.end:
                    part.path.unlink(missing_ok=True)  # nothing could be added to it
                    message = f"{self.uri}: {file.name} goes on beyond the {part.end} bytes that were asked for"
                    raise SourceError("DigestMismatch", message)
                writer.write(chunk)
            came = part.start + writer.tell()
        if came < part.end:
            message = f"{self.uri}: {file.name} ended after {came} bytes, and its source says {file.size}"
            raise SourceError("SourceUnreachable", message)
