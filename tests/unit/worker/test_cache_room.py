"""The cache's bound: what is removed for a download, what never is, and how fetchers share a cache."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import artifact_key
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.fetching.collection import UNLISTED_S, Holding, removals, used_keys
from reranker_worker.fetching.download import fetch_artifact
from reranker_worker.fetching.locks import held
from reranker_worker.fetching.origins import Hub, Origins
from reranker_worker.fetching.room import Room
from reranker_worker.fetching.transfer import Cancelled, Transfer
from reranker_worker.manifest import Source
from tests.fixtures.artifacts import artifact_folder

ONE = 8002  # bytes of an artifact of these tests, without its COMPLETE
LIMIT = 3 * ONE


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", tmp_path / "run")


@pytest.fixture
def origins(tmp_path: Path) -> Origins:
    for name in ("a", "b", "c", "d"):
        artifact_folder(tmp_path / "pvc" / "models" / name)
    return Origins(tmp_path / "pvc", Hub())


def source(name: str) -> Source:
    return Source(f"pvc://models/{name}")


def key(name: str) -> str:
    return artifact_key(source(name))


def fetch(name: str, cache: ArtifactCache, origins: Origins, room: Room) -> None:
    def make_room(total_bytes: int) -> None:
        room.make(source(name).uri, key(name), total_bytes)

    fetch_artifact(source(name), cache, origins, Transfer(make_room))


def cached(cache: ArtifactCache) -> set[str]:
    return {name for name in "abcd" if cache.completion(source(name)) is not None}


KEPT = [Holding("used", 40, 1, in_use=True), Holding("old", 30, 2), Holding("new", 20, 3)]


@pytest.mark.parametrize(
    ("needed", "gone"),
    [
        pytest.param(10, (), id="there is room"),
        pytest.param(11, ("old",), id="the longest unused goes first"),
        pytest.param(41, ("old", "new"), id="as many as it takes"),
        pytest.param(60, ("old", "new"), id="all that is unused"),
        pytest.param(61, None, id="what is used stays, and it doesn't fit"),
    ],
)
def test_what_goes_for_a_download(needed: int, gone: tuple[str, ...] | None) -> None:
    assert removals(KEPT, needed, 100) == gone


def test_what_was_listed_a_moment_ago_counts_as_used() -> None:
    assert used_keys({"now": 100.0, "just": 100.0 - UNLISTED_S, "gone": 99.0 - UNLISTED_S}, 100.0) == {"now", "just"}


def test_an_unused_artifact_goes_when_a_download_needs_its_room(cache: ArtifactCache, origins: Origins) -> None:
    room = Room(cache, LIMIT, "pod-a")
    for name in ("a", "b"):
        room.use({key("a"), key("b")})
        fetch(name, cache, origins, room)
    os.utime(cache.artifact(source("b")) / "COMPLETE", (1, 1))
    room.use({key("a"), key("c")})
    fetch("c", cache, origins, room)
    assert cached(cache) == {"a", "c"}


def test_what_is_used_stays_and_the_message_says_how_large_the_cache_has_to_be(
    cache: ArtifactCache, origins: Origins
) -> None:
    room = Room(cache, LIMIT, "pod-a")
    room.use({key("a"), key("b"), key("c")})
    fetch("a", cache, origins, room)
    fetch("b", cache, origins, room)
    with pytest.raises(SourceError) as caught:
        fetch("c", cache, origins, room)
    assert caught.value.reason == "DiskFull"
    taken = sum(path.stat().st_size for path in cache.artifacts.rglob("*") if path.is_file())
    assert f"at least {taken + ONE}" in caught.value.message
    assert cached(cache) == {"a", "b"}


def test_what_another_living_pod_uses_stays_and_what_a_gone_one_used_goes(
    cache: ArtifactCache, origins: Origins
) -> None:
    mine, theirs = Room(cache, LIMIT, "pod-a"), Room(cache, LIMIT, "pod-b")
    theirs.use({key("a"), key("b")})
    fetch("a", cache, origins, theirs)
    fetch("b", cache, origins, theirs)
    mine.use({key("c")})
    with pytest.raises(SourceError, match="don't fit"):
        fetch("c", cache, origins, mine)
    sign = cache.root / "users" / "pod-b.json"
    os.utime(sign, (1, 1))
    fetch("c", cache, origins, mine)
    assert len(cached(cache)) == 2
    assert "c" in cached(cache)
    assert not sign.exists()


def test_room_that_a_download_under_way_has_reserved_is_taken(cache: ArtifactCache, origins: Origins) -> None:
    room = Room(cache, LIMIT, "pod-a")
    room.use({key("a"), key("b")})
    cache.partial(source("a")).mkdir(parents=True)
    room.make("pvc://models/a", key("a"), 2 * ONE + 1)
    with pytest.raises(SourceError, match="don't fit"):
        fetch("b", cache, origins, room)


@pytest.mark.parametrize("torn", [b"", b"\0" * 6, b"\xff\xfe", b"many"], ids=["empty", "NULs", "no text", "no number"])
def test_a_reservation_that_a_node_tore_reserves_nothing(torn: bytes, cache: ArtifactCache, origins: Origins) -> None:
    room = Room(cache, LIMIT, "pod-a")
    room.use({key("a"), key("b")})
    cache.partial(source("a")).mkdir(parents=True)
    (cache.partials / f"{key('a')}.bytes").write_bytes(torn)
    assert cache.reserved(key("a")) == 0
    fetch("b", cache, origins, room)
    assert cached(cache) == {"b"}


def test_a_reservation_is_replaced_whole(cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.reserve(key("a"), 10)

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", broken)
        with pytest.raises(KeyboardInterrupt):
            cache.reserve(key("a"), 2000)
    assert cache.reserved(key("a")) == 10
    cache.reserve(key("a"), 2000)
    assert cache.reserved(key("a")) == 2000


def test_a_full_disk_frees_all_that_is_unused(cache: ArtifactCache, origins: Origins) -> None:
    room = Room(cache, LIMIT, "pod-a")
    room.use({key("b")})
    for name in ("a", "b"):
        fetch(name, cache, origins, room)
    room.free()
    assert cached(cache) == {"b"}


def test_what_another_fetcher_is_at_is_not_removed(cache: ArtifactCache, origins: Origins) -> None:
    room = Room(cache, LIMIT, "pod-a")
    room.use(set())
    fetch("a", cache, origins, room)
    with held(cache.lock(key("a"))):
        room.free()
    assert cached(cache) == {"a"}


def test_one_of_two_fetchers_downloads_and_the_other_one_takes_what_it_brought(
    cache: ArtifactCache, origins: Origins, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def copy(uri: str, rest: str, claims: Path, partial: Path, transfer: Transfer) -> None:
        copied.append(uri)
        begun.set()
        assert go_on.wait(10)
        artifact_folder(partial)

    monkeypatch.setattr("reranker_worker.fetching.download.copy_claim", copy)
    results: list[str] = []

    def fetching() -> None:
        results.append(fetch_artifact(source("a"), cache, origins, Transfer()).digest)

    threads = [threading.Thread(target=fetching) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    go_on.set()
    for thread in threads:
        thread.join()
    assert copied == ["pvc://models/a"]
    assert len(results) == 2


def test_a_fetcher_that_waits_for_another_one_can_be_told_to_stop(cache: ArtifactCache, origins: Origins) -> None:
    transfer = Transfer()
    transfer.cancelled.set()
    with held(cache.lock(key("a"))), pytest.raises(Cancelled):
        fetch_artifact(source("a"), cache, origins, transfer)


def test_a_removal_that_broke_off_leaves_nothing_that_could_be_taken_for_whole(
    cache: ArtifactCache, origins: Origins, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch("a", cache, origins, Room(cache, LIMIT, "pod-a"))

    def broken(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("reranker_worker.fetching.cache.shutil.rmtree", broken)
    with pytest.raises(KeyboardInterrupt):
        cache.remove(key("a"))
    assert cached(cache) == set()
    assert (cache.artifact(source("a")) / "model.safetensors").exists()


def test_a_full_disk_that_has_no_room_for_a_sign_is_freed_all_the_same(
    cache: ArtifactCache, origins: Origins, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Room(cache, LIMIT, "pod-b")
    other.use(set())
    fetch("a", cache, origins, other)
    fetch("b", cache, origins, other)
    room = Room(cache, LIMIT, "pod-a")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("reranker_worker.fetching.room.write_atomically", full)
        patched.setattr(Path, "touch", full)
        with pytest.raises(OSError, match="No space"):
            room.use({key("b")})
        room.free()
    assert cached(cache) == {"b"}


def test_nothing_goes_while_a_living_pods_sign_cannot_be_read(cache: ArtifactCache, origins: Origins) -> None:
    theirs = Room(cache, LIMIT, "pod-b")
    fetch("a", cache, origins, theirs)
    theirs.use({key("a")})
    (sign,) = (cache.root / "users").glob("pod-b.json")
    sign.write_text("")  # as a node that lost its power may leave it
    mine = Room(cache, LIMIT, "pod-a")
    mine.use(set())
    mine.free()
    assert cached(cache) == {"a"}
    theirs.use(set())
    mine.free()
    assert cached(cache) == set()


def test_foreign_folders_in_the_cache_are_left_alone(cache: ArtifactCache, origins: Origins) -> None:
    foreign: Callable[[], bool] = (cache.artifacts / "my-models" / "weights").exists
    (cache.artifacts / "my-models").mkdir(parents=True)
    (cache.artifacts / "my-models" / "weights").write_text("mine")
    room = Room(cache, LIMIT, "pod-a")
    room.use(set())
    room.free()
    assert foreign()
