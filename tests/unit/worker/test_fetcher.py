"""The fetcher's loop: follows the manifest, tells its progress, never gives up on what may come right."""

import errno
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import ArtifactPhase, Download, artifact_key
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.fetching.fetcher import Fetcher
from reranker_worker.fetching.origins import Hub, Origins
from reranker_worker.fetching.room import Room
from reranker_worker.fetching.schedule import Setback, Turn, next_turn, setback, wanted_sources
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source
from reranker_worker.manifest_files import ManifestFiles
from tests.fixtures.artifacts import artifact_folder
from tests.fixtures.manifests import adapter, document, manifest, model, write_manifest


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    artifact_folder(tmp_path / "pvc" / "models" / "m-1")
    return tmp_path / "pvc" / "models"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "serving" / "manifest.json"


@pytest.fixture
def cache(tmp_path: Path, claim: Path, path: Path) -> Iterator[ArtifactCache]:
    """Run a fetcher for the test's time; return the cache that it fills."""
    cache = ArtifactCache(tmp_path / "cache", tmp_path / "run")
    fetcher = Fetcher(ManifestFiles((path,), "t1"), "t1", cache, Origins(claim.parent, Hub()))
    stop = threading.Event()
    thread = threading.Thread(target=fetcher.run, args=(stop,))
    thread.start()
    yield cache
    stop.set()
    thread.join()


def eventually(condition: Callable[[], bool], within_s: float = 5) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def source(revision: str) -> Source:
    return Source(f"pvc://models/{revision}")


def phase(cache: ArtifactCache, revision: str) -> ArtifactPhase:
    return cache.status(source(revision)).phase


def test_the_model_and_all_adapters_are_fetched_and_those_of_an_edit_within_a_fraction_of_a_second(
    cache: ArtifactCache, claim: Path, path: Path
) -> None:
    write_manifest(path, document(1))
    eventually(lambda: phase(cache, "m-1") is ArtifactPhase.COMPLETE)
    artifact_folder(claim / "legal-1")
    write_manifest(path, document(2, adapters=[adapter("legal", "legal-1")]))
    eventually(lambda: phase(cache, "legal-1") is ArtifactPhase.COMPLETE, within_s=1)


def test_a_failed_artifact_is_told_and_fetched_once_its_source_is_there(
    cache: ArtifactCache, claim: Path, path: Path
) -> None:
    write_manifest(path, document(1, adapters=[adapter("legal", "legal-1")]))
    eventually(lambda: phase(cache, "legal-1") is ArtifactPhase.FAILED)
    assert cache.status(source("legal-1")).reason == "SourceNotFound"
    eventually(lambda: phase(cache, "m-1") is ArtifactPhase.COMPLETE)
    artifact_folder(claim / "legal-1")
    eventually(lambda: phase(cache, "legal-1") is ArtifactPhase.COMPLETE)


def test_what_failed_stays_failed_while_it_is_tried_again_and_when_the_manifest_changes(
    tmp_path: Path, claim: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[ArtifactPhase] = []
    monkeypatch.setattr(
        ArtifactCache, "tell", lambda _, of, progress: told.append(progress.phase) if of == source("legal-1") else None
    )
    cache = ArtifactCache(tmp_path / "cache", tmp_path / "run")
    fetcher = Fetcher(ManifestFiles((path,), "t1"), "t1", cache, Origins(claim.parent, Hub()))

    def failed(times: int) -> bool:
        fetcher.tick()
        return told.count(ArtifactPhase.FAILED) == times

    for generation in (1, 2):
        write_manifest(path, document(generation, adapters=[adapter("legal", "legal-1")]))
        eventually(partial(failed, generation))
    eventually(lambda: failed(3))  # by itself, a second later
    assert told[told.index(ArtifactPhase.FAILED) :] == [ArtifactPhase.FAILED] * 3
    artifact_folder(claim / "legal-1")
    write_manifest(path, document(3, adapters=[adapter("legal", "legal-1")]))

    def complete() -> bool:
        fetcher.tick()
        return told[-1] is ArtifactPhase.COMPLETE

    eventually(complete)


def test_how_far_a_download_is_can_be_seen_until_it_is_done(
    cache: ArtifactCache, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slowly(_uri: str, _rest: str, _claims: Path, partial: Path, transfer: Transfer) -> None:
        transfer.expect(8002)
        (partial / "model.safetensors").write_text("weights " * 500)
        assert go_on.wait(10)
        artifact_folder(partial)

    monkeypatch.setattr("reranker_worker.fetching.download.copy_claim", slowly)
    write_manifest(path, document(1))
    eventually(lambda: cache.status(source("m-1")).download == Download(4000, 8002, 0))
    go_on.set()
    eventually(lambda: phase(cache, "m-1") is ArtifactPhase.COMPLETE)
    assert cache.status(source("m-1")).download is None


def test_what_the_manifest_no_longer_lists_goes_when_room_is_needed_and_not_at_once(
    tmp_path: Path, claim: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlisted_s = "reranker_worker.fetching.collection.UNLISTED_S"
    monkeypatch.setattr(unlisted_s, 3600.0)
    monkeypatch.setattr("reranker_worker.fetching.schedule._LONGEST_RETRY_S", 0.1)
    cache = ArtifactCache(tmp_path / "cache", tmp_path / "run")
    room = Room(cache, 20_000, "pod-a")
    fetcher = Fetcher(ManifestFiles((path,), "t1"), "t1", cache, Origins(claim.parent, Hub()), room)

    def comes_to(revision: str, reached: ArtifactPhase) -> bool:
        fetcher.tick()
        return phase(cache, revision) is reached

    for generation, revision in enumerate(("m-1", "m-2", "m-3"), 1):
        artifact_folder(claim / revision)
        write_manifest(path, document(generation, models=[model(revision)], serve={"t1": revision}))
        reached = ArtifactPhase.FAILED if revision == "m-3" else ArtifactPhase.COMPLETE
        eventually(partial(comes_to, revision, reached))
    assert cache.status(source("m-3")).reason == "DiskFull"  # the others were listed a moment ago
    monkeypatch.setattr(unlisted_s, 0.0)
    eventually(partial(comes_to, "m-3", ArtifactPhase.COMPLETE))
    assert [cache.artifact(source(name)).exists() for name in ("m-1", "m-2")].count(True) == 1


def test_pickled_weights_are_not_tried_again_until_the_manifest_changes(
    cache: ArtifactCache, claim: Path, path: Path
) -> None:
    folder = artifact_folder(claim / "legal-1", pytorch_model__bin="pickle")
    (folder / "model.safetensors").unlink()
    write_manifest(path, document(1, adapters=[adapter("legal", "legal-1")]))
    eventually(lambda: cache.status(source("legal-1")).reason == "PickledWeights")
    (folder / "model.safetensors").write_text("weights")
    time.sleep(1.3)  # longer than the first retry of what is retried
    assert phase(cache, "legal-1") is ArtifactPhase.FAILED
    write_manifest(path, document(2, adapters=[adapter("legal", "legal-1")]))
    eventually(lambda: phase(cache, "legal-1") is ArtifactPhase.COMPLETE)


def test_an_artifact_that_an_earlier_process_brought_is_kept(cache: ArtifactCache, claim: Path, path: Path) -> None:
    write_manifest(path, document(1))
    eventually(lambda: phase(cache, "m-1") is ArtifactPhase.COMPLETE)
    written = (cache.artifact(source("m-1")) / "COMPLETE").stat().st_ino
    second = Fetcher(ManifestFiles((path,), "t1"), "t1", cache, Origins(claim.parent, Hub()))
    second.tick()
    second.tick()
    assert (cache.artifact(source("m-1")) / "COMPLETE").stat().st_ino == written


def test_a_disk_that_is_away_for_a_moment_ends_nothing(
    cache: ArtifactCache, claim: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(path, document(1))
    eventually(lambda: phase(cache, "m-1") is ArtifactPhase.COMPLETE)
    artifact_folder(claim / "legal-1")
    asked: list[Source] = []

    def away(_: ArtifactCache, of: Source) -> None:
        asked.append(of)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(ArtifactCache, "completion", away)
        write_manifest(path, document(2, adapters=[adapter("legal", "legal-1")]))
        eventually(lambda: len(asked) > 2)
    eventually(lambda: phase(cache, "legal-1") is ArtifactPhase.COMPLETE)


def test_a_fetcher_that_ends_by_an_error_lets_go_of_its_downloads(
    tmp_path: Path, claim: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    def waiting(_uri: str, _rest: str, _claims: Path, _partial: Path, transfer: Transfer) -> None:
        begun.set()
        assert transfer.cancelled.wait(10)
        transfer.check()

    monkeypatch.setattr("reranker_worker.fetching.download.copy_claim", waiting)
    fetcher = Fetcher(
        ManifestFiles((path,), "t1"), "t1", ArtifactCache(tmp_path / "cache", tmp_path / "run"), Origins(claim, Hub())
    )
    turn = fetcher.tick

    def broken() -> None:
        turn()
        if begun.is_set():
            raise ZeroDivisionError

    monkeypatch.setattr(fetcher, "tick", broken)
    write_manifest(path, document(1))
    with pytest.raises(ZeroDivisionError):
        fetcher.run(threading.Event())
    assert [download.result.done() for download in fetcher._running.values()] == [True]


def test_an_artifact_that_somebody_took_away_is_fetched_again(
    tmp_path: Path, claim: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reranker_worker.fetching.fetcher.SIGN_S", 0.0)
    cache = ArtifactCache(tmp_path / "cache", tmp_path / "run")
    room = Room(cache, 1 << 30, "pod-a")
    fetcher = Fetcher(ManifestFiles((path,), "t1"), "t1", cache, Origins(claim.parent, Hub()), room)
    write_manifest(path, document(1))

    def complete() -> bool:
        fetcher.tick()
        return cache.completion(source("m-1")) is not None

    eventually(complete)
    eventually(lambda: complete() and not fetcher._running)
    cache.remove(artifact_key(source("m-1")))
    eventually(complete)


def test_what_is_fetched_ahead_for_other_pods_is_wanted_last() -> None:
    models = [model("m-1"), model("m-2"), model("m-3")]
    wanted = manifest(models=models, prefetch=["m-3"], candidates={"t1": "m-2"}, adapters=[adapter("a", "a-1")])
    assert wanted_sources(wanted, "t1") == (source("m-1"), source("a-1"), source("m-2"), source("m-3"))
    assert wanted_sources(wanted, "another template") == ()


def test_what_serves_is_wanted_first_then_adapters_and_the_candidate_last() -> None:
    wanted = manifest(models=[model("m-2"), model("m-1")], candidates={"t1": "m-2"}, adapters=[adapter("a", "a-1")])
    assert wanted_sources(wanted, "t1") == (source("m-1"), source("a-1"), source("m-2"))


A, B = source("a"), source("b")


def test_what_is_wanted_and_idle_starts_and_what_runs_unwanted_is_given_up() -> None:
    turn = next_turn((A,), complete=set(), running={B}, setbacks={}, now_s=0)
    assert turn == Turn(start=(A,), cancel=frozenset({B}))
    assert next_turn((A, B), complete={A}, running={B}, setbacks={}, now_s=0).start == ()


def test_retries_wait_longer_each_time_up_to_a_minute() -> None:
    last, waits = None, []
    for _ in range(9):
        last = setback(SourceError("SourceUnreachable", ""), last, now_s=100)
        assert last.retry_at_s is not None
        waits.append(last.retry_at_s - 100)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


@pytest.mark.parametrize(
    ("past", "starts"),
    [
        pytest.param(Setback(1, retry_at_s=10), True, id="due"),
        pytest.param(Setback(1, retry_at_s=11), False, id="not yet"),
        pytest.param(Setback(1, retry_at_s=None), False, id="never"),
    ],
)
def test_a_setback_delays_the_next_try(past: Setback, starts: bool) -> None:
    assert bool(next_turn((A,), set(), set(), {A: past}, now_s=10).start) is starts
