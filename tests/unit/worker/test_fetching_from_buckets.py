"""s3:// and gs:// sources, fetched by the real obstore from a real S3 server and an emulator of Google's."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reranker_worker.errors import SourceError
from reranker_worker.fetching import parts
from reranker_worker.fetching.artifacts import ArtifactPhase
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.fetching.download import fetch_artifact
from reranker_worker.fetching.origins import Hub, Origins
from reranker_worker.fetching.transfer import Cancelled, Transfer
from reranker_worker.manifest import Source
from tests.fixtures.artifacts import artifact_folder
from tests.fixtures.proxy import Proxy, proxy
from tests.fixtures.storage import S3_KEY, gcs_server, put, s3_server

WEIGHTS = b"weights " * 100_000
SERVED = ["COMPLETE", "config.json", "model.safetensors"]
SERVERS = {"s3": s3_server, "gs": gcs_server}


@dataclass(frozen=True)
class Bucket:
    """The bucket `models` of one kind of store, seen through a proxy."""

    scheme: str
    port: int
    store: Proxy
    folder: Path

    def source(self, path: str, digest: str | None = None) -> Source:
        return Source(f"{self.scheme}://models/{path}", digest=digest)

    def put(self, folder: str, **files: bytes) -> None:
        put(self.scheme, self.port, "models", folder, {name.replace("__", "."): data for name, data in files.items()})


@pytest.fixture(scope="module", params=sorted(SERVERS))
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int, Path]]:
    root = tmp_path_factory.mktemp("store") / "buckets"
    (root / "models").mkdir(parents=True)
    with SERVERS[request.param](root) as port:
        yield request.param, port, root / "models"


@pytest.fixture
def bucket(served: tuple[str, int, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    scheme, port, folder = served
    for name, value in S3_KEY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOOGLE_SKIP_SIGNATURE", "true")
    with proxy(port) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{store.address}")
        monkeypatch.setenv("GOOGLE_BASE_URL", f"http://{store.address}")
        bucket = Bucket(scheme, port, store, folder)
        bucket.put("legal", config__json=b"{}", model__safetensors=WEIGHTS, README__md=b"not served")
        bucket.put("legal/checkpoint-100", vocab__txt=b"of a deeper folder")
        bucket.put("pickled", config__json=b"{}", pytorch_model__bin=b"pickle")
        yield bucket


@pytest.fixture(autouse=True)
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files come in their order, so that what came before something breaks is always the same."""
    monkeypatch.setattr(parts, "CONNECTIONS", 1)


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", tmp_path / "run")


def fetch(source: Source, cache: ArtifactCache) -> Path:
    fetch_artifact(source, cache, Origins(Path("/nonexistent"), Hub()), Transfer())
    return cache.artifact(source)


def refusal(source: Source, cache: ArtifactCache) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(source, cache)
    assert cache.status(source).phase is not ArtifactPhase.COMPLETE
    return caught.value


def test_the_served_objects_of_a_folder_come_and_nothing_else(bucket: Bucket, cache: ArtifactCache) -> None:
    artifact = fetch(bucket.source("legal"), cache)
    assert sorted(path.name for path in artifact.iterdir()) == SERVED
    assert (artifact / "model.safetensors").read_bytes() == WEIGHTS
    assert not bucket.store.asked("README.md")


def test_objects_without_an_etag_are_fetched_too(bucket: Bucket, cache: ArtifactCache) -> None:
    if bucket.scheme == "gs":
        pytest.skip("every object has one there")
    artifact_folder(bucket.folder / "untagged", model__safetensors="weights")  # not by way of the server
    assert (fetch(bucket.source("untagged"), cache) / "model.safetensors").read_text() == "weights"


def test_an_image_without_certificates_of_its_own_fetches_all_the_same(
    bucket: Bucket, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, "/nonexistent")
    assert fetch(bucket.source("legal"), cache).is_dir()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(bucket: Bucket, cache: ArtifactCache) -> None:
    bucket.store.cut_at["model.safetensors"] = [300_000]
    artifact = fetch(bucket.source("legal"), cache)
    assert (artifact / "model.safetensors").read_bytes() == WEIGHTS
    assert bucket.store.asked("model.safetensors")[1:] != [None]


def test_another_process_goes_on_with_what_the_first_one_left(bucket: Bucket, cache: ArtifactCache) -> None:
    wanted = bucket.source("legal")
    bucket.store.cut_at["model.safetensors"] = [300_000, 0, 0, 0, 0, 0]
    assert refusal(wanted, cache).reason == "SourceUnreachable"
    kept = cache.partial_bytes(wanted) - len(b"{}")
    assert 200_000 < kept <= 300_000
    bucket.store.cut_at.clear()
    bucket.store.requests.clear()

    artifact = fetch(wanted, cache)

    assert (artifact / "model.safetensors").read_bytes() == WEIGHTS
    assert bucket.store.asked("model.safetensors") == [f"bytes={kept}-{len(WEIGHTS) - 1}"]
    assert not bucket.store.asked("config.json")


@pytest.mark.parametrize("ignore_ranges", [False, True], ids=["by ranges", "where the store sends all"])
def test_a_large_object_comes_in_parts(
    ignore_ranges: bool, bucket: Bucket, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    if ignore_ranges and bucket.scheme == "s3":
        pytest.skip("what is asked for is signed, so no proxy can take the range away")
    monkeypatch.setattr(parts, "CONNECTIONS", 4)
    monkeypatch.setattr(parts, "PART_BYTES", 300_000)
    bucket.store.ignore_ranges = ignore_ranges
    artifact = fetch(bucket.source("legal"), cache)
    assert (artifact / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(path.name for path in artifact.iterdir()) == SERVED
    asked = bucket.store.asked("model.safetensors")
    if ignore_ranges:
        assert asked[-1] is None
    else:
        assert set(asked) == {"bytes=0-299999", "bytes=300000-599999", "bytes=600000-799999"}


def test_what_came_of_an_object_that_was_overwritten_since_is_dropped(bucket: Bucket, cache: ArtifactCache) -> None:
    bucket.put("moving", model__safetensors=b"first " * 100_000)
    wanted = bucket.source("moving")
    bucket.store.cut_at["model.safetensors"] = [300_000, 0, 0, 0, 0, 0]
    assert refusal(wanted, cache).reason == "SourceUnreachable"
    bucket.store.cut_at.clear()
    bucket.put("moving", model__safetensors=b"second" * 100_000)

    artifact = fetch(wanted, cache)

    assert (artifact / "model.safetensors").read_bytes() == b"second" * 100_000


class Killed(BaseException):
    """The process ends here, whatever it was about to do."""


def leave_whole_files(wanted: Source, cache: ArtifactCache) -> None:
    """Let a fetcher be killed once all files have come, before they are published."""

    def killed(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArtifactCache, "publish", killed)
        with pytest.raises(Killed):
            fetch(wanted, cache)


def test_objects_that_came_whole_stay_when_the_fetcher_is_killed(bucket: Bucket, cache: ArtifactCache) -> None:
    leave_whole_files(bucket.source("legal"), cache)
    bucket.store.requests.clear()

    artifact = fetch(bucket.source("legal"), cache)

    assert sorted(path.name for path in artifact.iterdir()) == SERVED
    assert not bucket.store.asked("model.safetensors")


def test_an_object_that_came_whole_and_was_overwritten_since_is_fetched_again(
    bucket: Bucket, cache: ArtifactCache
) -> None:
    bucket.put("overwritten", config__json=b"{}", model__safetensors=b"first " * 100_000)
    leave_whole_files(bucket.source("overwritten"), cache)
    bucket.put("overwritten", model__safetensors=b"second" * 100_000)
    bucket.store.requests.clear()

    artifact = fetch(bucket.source("overwritten"), cache)

    assert (artifact / "model.safetensors").read_bytes() == b"second" * 100_000
    assert not bucket.store.asked("config.json")


def test_a_digest_that_differs_is_refused_and_nothing_of_it_kept(bucket: Bucket, cache: ArtifactCache) -> None:
    wanted = bucket.source("legal", digest="sha256:" + "0" * 64)
    error = refusal(wanted, cache)
    assert error.reason == "DigestMismatch"
    assert not cache.partial(wanted).exists()


@pytest.mark.parametrize(
    ("path", "reason", "said"),
    [
        pytest.param("none", "SourceNotFound", "no *.safetensors", id="folder"),
        pytest.param("leg", "SourceNotFound", "no *.safetensors", id="beginning of a folder's name"),
        pytest.param("pickled", "PickledWeights", "pytorch_model.bin", id="pickled"),
    ],
)
def test_what_the_bucket_lacks_is_named(
    path: str, reason: str, said: str, bucket: Bucket, cache: ArtifactCache
) -> None:
    error = refusal(bucket.source(path), cache)
    assert (error.reason, said in error.message) == (reason, True)


def test_a_bucket_that_does_not_exist_is_named(bucket: Bucket, cache: ArtifactCache) -> None:
    if bucket.scheme == "gs":
        pytest.skip("the emulator answers 500")
    error = refusal(Source(f"{bucket.scheme}://none-such/legal"), cache)
    assert (error.reason, "none-such" in error.message) == ("SourceNotFound", True)


def test_a_store_that_refuses_is_told_apart_from_one_that_is_down(bucket: Bucket, cache: ArtifactCache) -> None:
    bucket.store.deny = "models"
    assert refusal(bucket.source("legal"), cache).reason == "SourceUnauthorized"


def test_wrong_keys_are_refused_and_not_shown(
    bucket: Bucket, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    if bucket.scheme == "gs":
        pytest.skip("the emulator takes everyone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-s3cret")
    error = refusal(bucket.source("legal"), cache)
    assert error.reason == "SourceUnauthorized"
    assert "s3cret" not in error.message


def test_a_store_that_is_down_is_unreachable(
    bucket: Bucket, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "GOOGLE_BASE_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    assert refusal(bucket.source("legal"), cache).reason == "SourceUnreachable"


def test_a_cancelled_download_ends_and_publishes_nothing(bucket: Bucket, cache: ArtifactCache) -> None:
    transfer = Transfer()
    transfer.cancelled.set()
    with pytest.raises(Cancelled):
        fetch_artifact(bucket.source("legal"), cache, Origins(Path("/nonexistent"), Hub()), transfer)
    assert cache.completion(bucket.source("legal")) is None
