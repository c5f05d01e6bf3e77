"""Files that come in parts, several at a time: what is on disk when, and what the next try makes of it."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reranker_worker.errors import SourceError
from reranker_worker.fetching import drafts, parts
from reranker_worker.fetching.drafts import RemoteFile, unfilled_bytes
from reranker_worker.fetching.parts import SendsAll, Span, bring
from reranker_worker.fetching.transfer import Cancelled, Transfer

URI = "s3://models/legal"
CONTENT = bytes(range(250)) * 4
FILE = RemoteFile("model.safetensors", len(CONTENT), "v1")
SMALL = RemoteFile("config.json", 2, "v1")
EMPTY = RemoteFile("added_tokens.json", 0, "v1")
CONTENTS = {FILE.name: CONTENT, SMALL.name: b"{}", EMPTY.name: b""}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 300)


@dataclass
class Source:
    """A source whose reads can be held, broken off and refused."""

    ends_after: dict[int, int] = field(default_factory=dict)  # start of a read → bytes that it brings
    others: threading.Semaphore | None = None  # counts the reads that are done; the one from 0 waits for three
    whole_alone: bool = False
    surplus: bytes = b""
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    came: list[int] = field(default_factory=list)

    def read(self, file: RemoteFile, span: Span) -> Iterator[bytes]:
        self.asked.append((file.name, span.start, span.end))
        if self.whole_alone and span.end - span.start < file.size:
            raise SendsAll
        if self.others is not None and span.start == 0:
            for _ in range(3):
                assert self.others.acquire(timeout=60)
        content = CONTENTS[file.name][span.start : span.end][: self.ends_after.get(span.start)] + self.surplus
        for first in range(0, len(content), 70):
            yield content[first : first + 70]
            self.came.append(len(content[first : first + 70]))
        if self.others is not None:
            self.others.release()

    def of_weights(self) -> list[tuple[int, int]]:
        return sorted((start, end) for name, start, end in self.asked if name == FILE.name)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".whole"))


def break_off(folder: Path, *, after: int = 50) -> None:
    """Leave a try whose first part ended so early, and whose others are whole."""
    source = Source(ends_after={0: after}, others=threading.Semaphore(0))
    with pytest.raises(SourceError, match=f"ended after {after} bytes"):
        bring(URI, [FILE], folder, Transfer(), source.read)


def test_the_parts_make_the_file(tmp_path: Path) -> None:
    source = Source()
    bring(URI, [FILE, SMALL, EMPTY], tmp_path, Transfer(), source.read)
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == CONTENTS
    assert source.of_weights() == [(0, 300), (300, 600), (600, 900), (900, 1000)]


def test_parts_come_at_the_same_time_and_in_any_order(tmp_path: Path) -> None:
    """The first part waits for the others, which could never come if they came one after another."""
    bring(URI, [FILE], tmp_path, Transfer(), Source(others=threading.Semaphore(0)).read)
    assert (tmp_path / FILE.name).read_bytes() == CONTENT
    assert names(tmp_path) == [FILE.name]


@pytest.mark.parametrize("broken", [0, 300, 900])
def test_a_part_that_ends_early_is_gone_on_with_where_it_stopped(broken: int, tmp_path: Path) -> None:
    source = Source(ends_after={broken: 50})
    with pytest.raises(SourceError, match=f"ended after {broken + 50} bytes of {min(broken + 300, 1000)}"):
        bring(URI, [FILE], tmp_path, Transfer(), source.read)
    assert FILE.name not in names(tmp_path)

    again = Source()
    bring(URI, [FILE], tmp_path, Transfer(), again.read)

    assert (broken + 50, min(broken + 300, 1000)) in again.of_weights()
    assert sum(source.came) + sum(again.came) == len(CONTENT)
    assert (tmp_path / FILE.name).read_bytes() == CONTENT
    assert names(tmp_path) == [FILE.name]


def test_of_what_is_not_whole_yet_the_bytes_that_came_count(tmp_path: Path) -> None:
    break_off(tmp_path)
    came = sum(path.stat().st_size for path in tmp_path.iterdir()) - unfilled_bytes(tmp_path)
    assert came == len(CONTENT) - 250
    bring(URI, [FILE], tmp_path, Transfer(), Source().read)
    assert unfilled_bytes(tmp_path) == 0


def test_a_fetcher_that_was_killed_before_the_file_got_its_name_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(drafts.Draft, "settle", _killed)
        with pytest.raises(KeyboardInterrupt):
            bring(URI, [FILE], tmp_path, Transfer(), Source().read)
    source = Source()
    bring(URI, [FILE], tmp_path, Transfer(), source.read)
    assert source.asked == []
    assert (tmp_path / FILE.name).read_bytes() == CONTENT


def _killed(_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("changed", ["boot", "size of the parts", "version"])
def test_a_record_of_other_circumstances_counts_for_nothing(
    changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power failure the disk may have the record and not the bytes."""
    break_off(tmp_path)
    file = FILE
    if changed == "boot":
        monkeypatch.setattr(drafts, "_boot", lambda: "another")
    elif changed == "version":
        file = RemoteFile(FILE.name, FILE.size, "v2")
    else:
        monkeypatch.setattr(parts, "PART_BYTES", 500)

    source = Source()
    bring(URI, [file], tmp_path, Transfer(), source.read)

    assert sum(source.came) == len(CONTENT)
    assert (tmp_path / FILE.name).read_bytes() == CONTENT
    assert names(tmp_path) == [FILE.name]


def test_a_record_whose_file_was_removed_counts_for_nothing(tmp_path: Path) -> None:
    break_off(tmp_path)
    for draft in tmp_path.glob(".*.draft"):
        draft.unlink()
    bring(URI, [FILE], tmp_path, Transfer(), Source().read)
    assert (tmp_path / FILE.name).read_bytes() == CONTENT


def test_a_source_of_whole_files_alone_is_asked_for_them(tmp_path: Path) -> None:
    source = Source(whole_alone=True)
    bring(URI, [FILE, SMALL], tmp_path, Transfer(), source.read)
    assert source.of_weights()[:1] == [(0, 300)]
    assert (FILE.name, 0, 1000) in source.asked
    assert (tmp_path / FILE.name).read_bytes() == CONTENT
    assert names(tmp_path) == sorted([FILE.name, SMALL.name])


def test_a_whole_file_that_broke_off_comes_again_where_parts_are_not_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="ended after 50 bytes of 1000"):
        bring(URI, [FILE], tmp_path, Transfer(), Source(whole_alone=True, ends_after={0: 50}).read)
    bring(URI, [FILE], tmp_path, Transfer(), Source(whole_alone=True).read)
    assert (tmp_path / FILE.name).read_bytes() == CONTENT


def test_more_than_was_asked_for_is_refused(tmp_path: Path) -> None:
    source = Source(surplus=b"more")
    with pytest.raises(SourceError, match="goes on beyond the") as caught:
        bring(URI, [FILE], tmp_path, Transfer(), source.read)
    assert caught.value.reason == "DigestMismatch"
    bring(URI, [FILE], tmp_path, Transfer(), Source().read)
    assert (tmp_path / FILE.name).read_bytes() == CONTENT


def test_a_download_that_is_no_longer_wanted_ends_all_its_parts(tmp_path: Path) -> None:
    transfer, source = Transfer(), Source()

    def read(file: RemoteFile, span: Span) -> Iterator[bytes]:
        transfer.cancelled.set()
        yield from source.read(file, span)

    with pytest.raises(Cancelled):
        bring(URI, [FILE], tmp_path, transfer, read)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == unfilled_bytes(tmp_path)


def test_one_part_that_fails_ends_the_others(tmp_path: Path) -> None:
    """The endless part ends, or this test never does."""

    def read(file: RemoteFile, span: Span) -> Iterator[bytes]:
        if span.start:
            raise SourceError("SourceUnauthorized", "no more of it")
        while True:
            yield b""

    with pytest.raises(SourceError, match="no more of it"):
        bring(URI, [FILE], tmp_path, Transfer(), read)


@pytest.mark.parametrize("size", [1 << 50, 1 << 60])
def test_a_size_beyond_any_disk_is_refused_before_anything_is_made_of_it(size: int, tmp_path: Path) -> None:
    claimed = RemoteFile(FILE.name, size, "v1")
    with pytest.raises(SourceError, match=f"says that its files have {size}") as refused:
        bring(URI, [claimed], tmp_path, Transfer(), Source().read)
    assert refused.value.reason == "DiskFull"
    assert list(tmp_path.iterdir()) == []
