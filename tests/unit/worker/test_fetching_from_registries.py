"""oci:// sources, fetched from a real registry (go-containerregistry's)."""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reranker_worker.errors import SourceError
from reranker_worker.fetching import parts
from reranker_worker.fetching.artifacts import ArtifactPhase
from reranker_worker.fetching.cache import ArtifactCache, folder_bytes
from reranker_worker.fetching.download import fetch_artifact
from reranker_worker.fetching.origins import Hub, Origins, Registries
from reranker_worker.fetching.transfer import Cancelled, Transfer
from reranker_worker.manifest import Source
from tests.fixtures import oci
from tests.fixtures.proxy import Proxy, proxy
from tests.fixtures.storage import registry_server

FILES = {"config.json": b"{}", "model.safetensors": b"weights " * 1000, "README.md": b"not served"}
SERVED = ["COMPLETE", "config.json", "model.safetensors"]
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with registry_server(tmp_path_factory.mktemp("registry")) as port:
        yield port


@pytest.fixture
def registry(port: int) -> Iterator[Proxy]:
    with proxy(port) as registry:
        yield registry


@pytest.fixture
def upload(port: int) -> str:
    """The address that is pushed to: past the proxy, which only reads."""
    return f"localhost:{port}"


@pytest.fixture(autouse=True)
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files come in their order, so that what came before something breaks is always the same."""
    monkeypatch.setattr(parts, "CONNECTIONS", 1)


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", tmp_path / "run")


def source(registry: Proxy, digest: str, repository: str = "acme/legal") -> Source:
    return Source(f"oci://{registry.address}/{repository}", revision=digest)


def fetch(source: Source, cache: ArtifactCache, registry: Proxy, docker_config: str = "") -> Path:
    registries = Registries(docker_config, frozenset({registry.address}))
    fetch_artifact(source, cache, Origins(Path("/nonexistent"), Hub(), registries), Transfer())
    return cache.artifact(source)


def refusal(source: Source, cache: ArtifactCache, registry: Proxy, docker_config: str = "") -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(source, cache, registry, docker_config)
    assert cache.status(source).phase is not ArtifactPhase.COMPLETE
    return caught.value


class Killed(BaseException):
    """The process ends here, whatever it was about to do."""


@contextmanager
def killed_at(moment: str) -> Iterator[None]:
    """Let the fetcher be killed when it comes to a function of the package `fetching`."""

    def kill(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"reranker_worker.fetching.{moment}", kill)
        with pytest.raises(Killed):
            yield


def names(artifact: Path) -> list[str]:
    return sorted(path.name for path in artifact.iterdir())


def docker_config(registry: Proxy, login: str) -> str:
    return json.dumps({"auths": {registry.address: {"auth": base64.b64encode(login.encode()).decode()}}})


@pytest.mark.parametrize(
    ("name_by", "media_type"),
    [
        pytest.param(oci.TITLE, "application/octet-stream", id="as oras names files"),
        pytest.param(oci.TITLE, "application/vnd.oci.image.layer.v1.tar", id="of the type that oras gives any file"),
        pytest.param(oci.MODEL_PACK, "application/octet-stream", id="as ModelPack does"),
    ],
)
def test_an_artifacts_served_files_come_and_nothing_else(
    name_by: str, media_type: str, registry: Proxy, upload: str, cache: ArtifactCache
) -> None:
    digest = oci.push_artifact(upload, "acme/legal", FILES, name_by, media_type)
    artifact = fetch(source(registry, digest), cache, registry)
    assert names(artifact) == SERVED
    assert (artifact / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert len([path for _, path, _ in registry.requests if "/blobs/" in path]) == 2


@pytest.mark.parametrize("folder", ["", "./", "models/", "/models/"], ids=["root", "dot", "models", "absolute"])
def test_an_images_layers_are_unpacked(folder: str, registry: Proxy, upload: str, cache: ArtifactCache) -> None:
    weights = {f"{folder}model.safetensors": FILES["model.safetensors"]}
    rest = {f"{folder}config.json": b"{}", f"{folder}deeper/model.safetensors": b"other", "../vocab.txt": b"outside"}
    digest = oci.push_index(upload, "acme/image", oci.push_image(upload, "acme/image", weights, rest))
    artifact = fetch(source(registry, digest, "acme/image"), cache, registry)
    assert names(artifact) == SERVED
    assert (artifact / "model.safetensors").read_bytes() == FILES["model.safetensors"]


@pytest.mark.parametrize("ignore_ranges", [False, True], ids=["by a range", "where the registry sends all again"])
def test_a_download_that_breaks_off_goes_on_where_it_stopped_in_another_process_too(
    ignore_ranges: bool, registry: Proxy, upload: str, cache: ArtifactCache
) -> None:
    digest = oci.push_artifact(upload, "acme/legal", FILES)
    blob = oci._digest(FILES["model.safetensors"])
    registry.cut_at[blob] = [3000]
    registry.ignore_ranges = ignore_ranges
    assert refusal(source(registry, digest), cache, registry).reason == "SourceUnreachable"
    assert cache.partial_bytes(source(registry, digest)) == 3002

    artifact = fetch(source(registry, digest), cache, registry)

    assert (artifact / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert registry.asked(blob) == [None, "bytes=3000-7999", *([None] if ignore_ranges else [])]
    assert len(registry.asked(oci._digest(b"{}"))) == 1


@pytest.mark.parametrize("ignore_ranges", [False, True], ids=["by ranges", "where the registry sends all"])
def test_a_large_layer_comes_in_parts(
    ignore_ranges: bool, registry: Proxy, upload: str, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "CONNECTIONS", 4)
    monkeypatch.setattr(parts, "PART_BYTES", 3000)
    digest = oci.push_artifact(upload, "acme/legal", FILES)
    registry.ignore_ranges = ignore_ranges
    artifact = fetch(source(registry, digest), cache, registry)
    assert names(artifact) == SERVED
    assert (artifact / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert "bytes=6000-7999" in registry.asked(oci._digest(FILES["model.safetensors"]))


@pytest.mark.parametrize(
    "moment", ["download.served_files", "download.ArtifactCache.publish"], ids=["it hashes", "it publishes"]
)
def test_files_that_came_whole_stay_when_the_fetcher_is_killed_while(
    moment: str, registry: Proxy, upload: str, cache: ArtifactCache
) -> None:
    wanted = source(registry, oci.push_artifact(upload, "acme/legal", FILES))
    with killed_at(moment):
        fetch(wanted, cache, registry)

    artifact = fetch(wanted, cache, registry)

    assert names(artifact) == SERVED
    assert registry.asked(oci._digest(FILES["model.safetensors"])) == [None]


def test_only_a_file_that_lost_its_end_with_the_node_is_fetched_again(
    registry: Proxy, upload: str, cache: ArtifactCache
) -> None:
    wanted = source(registry, oci.push_artifact(upload, "acme/legal", FILES))
    with killed_at("download.served_files"):
        fetch(wanted, cache, registry)
    (cache.partial(wanted) / "model.safetensors").write_bytes(b"weig")

    assert (fetch(wanted, cache, registry) / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert len(registry.asked(oci._digest(b"{}"))) == 1


def test_an_images_layer_stays_when_the_fetcher_is_killed_while_it_unpacks(
    registry: Proxy, upload: str, cache: ArtifactCache
) -> None:
    wanted = source(registry, oci.push_image(upload, "acme/image", FILES), "acme/image")
    with killed_at("registry.unpack"):
        fetch(wanted, cache, registry)

    artifact = fetch(wanted, cache, registry)

    assert names(artifact) == SERVED
    assert len([path for _, path, _ in registry.requests if "/blobs/" in path]) == 1


def test_an_images_files_are_given_room_beside_its_layers(registry: Proxy, upload: str, cache: ArtifactCache) -> None:
    layers = [{f"model-{number}.safetensors": bytes(1 << 20)} for number in range(2)]
    wanted = source(registry, oci.push_image(upload, "acme/image", *layers), "acme/image")
    reserved, on_disk = [0], [0]

    def make_room(total_bytes: int) -> None:
        on_disk.append(folder_bytes(cache.partial(wanted)))
        reserved.append(total_bytes)

    origins = Origins(Path("/nonexistent"), Hub(), Registries("", frozenset({registry.address})))
    fetch_artifact(wanted, cache, origins, Transfer(make_room))

    assert max(reserved) > 2 << 20
    # What lies there whenever more room is asked for is within what was asked for before.
    assert all(held <= room for held, room in zip(on_disk[1:], reserved, strict=False))


def test_an_image_that_has_no_room_to_unpack_is_left_packed(registry: Proxy, upload: str, cache: ArtifactCache) -> None:
    files = {"config.json": b"{}", "model.safetensors": bytes(1 << 20)}
    wanted = source(registry, oci.push_image(upload, "acme/image", files), "acme/image")

    def make_room(total_bytes: int) -> None:
        if total_bytes > 1 << 19:
            raise SourceError("DiskFull", f"{total_bytes} bytes")

    origins = Origins(Path("/nonexistent"), Hub(), Registries("", frozenset({registry.address})))
    with pytest.raises(SourceError) as caught:
        fetch_artifact(wanted, cache, origins, Transfer(make_room))

    assert caught.value.reason == "DiskFull"
    assert cache.partial_bytes(wanted) < 1 << 19


def test_a_blob_that_goes_on_beyond_its_stated_size_is_refused_at_once(
    registry: Proxy, upload: str, cache: ArtifactCache
) -> None:
    layer = oci._push_blob(upload, "acme/long", b"weights " * 100_000, "application/octet-stream")
    layer |= {"size": 10, "annotations": {oci.TITLE: "model.safetensors"}}
    digest = oci.push_manifest(upload, "acme/long", oci._manifest(upload, "acme/long", [layer]))
    wanted = source(registry, digest, "acme/long")

    error = refusal(wanted, cache, registry)

    assert error.reason == "DigestMismatch"
    assert "beyond the 10 bytes" in error.message
    assert cache.partial_bytes(wanted) <= 10


def test_a_private_repository_needs_its_credentials(registry: Proxy, upload: str, cache: ArtifactCache) -> None:
    wanted = source(registry, oci.push_artifact(upload, "acme/legal", FILES))
    registry.login = "robot:pa:ss"
    for config in ("", docker_config(registry, "robot:wrong"), '{"auths": {"elsewhere": {"auth": "eDp5"}}}'):
        error = refusal(wanted, cache, registry, config)
        assert error.reason == "SourceUnauthorized"
        assert "secretRef" in error.message
        assert "wrong" not in error.message
    assert fetch(wanted, cache, registry, docker_config(registry, "robot:pa:ss")).is_dir()


def test_a_token_server_that_answers_without_a_token_is_named(
    registry: Proxy, upload: str, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = source(registry, oci.push_artifact(upload, "acme/legal", FILES))
    registry.login = "robot:pa:ss"
    monkeypatch.setattr("tests.fixtures.proxy._Handler._give_token", lambda self: self._answer(200, b"<html>", {}))
    error = refusal(wanted, cache, registry)
    assert error.reason == "SourceUnreachable"
    assert "token server" in error.message
    assert "manifest" not in error.message


def test_credentials_that_cannot_be_read_are_named_and_not_shown(
    registry: Proxy, upload: str, cache: ArtifactCache
) -> None:
    wanted = source(registry, oci.push_artifact(upload, "acme/legal", FILES))
    error = refusal(wanted, cache, registry, "s3cret")
    assert error.reason == "SourceUnauthorized"
    assert "kubernetes.io/dockerconfigjson" in error.message
    assert "s3cret" not in repr(error)


def test_a_blob_that_differs_from_its_digest_is_refused(registry: Proxy, upload: str, cache: ArtifactCache) -> None:
    digest = oci.push_artifact(upload, "acme/legal", FILES)
    wanted = Source(f"oci://{registry.address}/acme/legal", digest, digest="sha256:" + "0" * 64)
    error = refusal(wanted, cache, registry)
    assert error.reason == "DigestMismatch"
    assert not cache.partial(wanted).exists()


@pytest.mark.parametrize(
    ("repository", "digest", "said"),
    [
        pytest.param("acme/none", "sha256:" + "0" * 64, "no such repository", id="repository"),
        pytest.param("acme/legal", "v1", "at sha256:…", id="tag"),
        pytest.param("acme/LEGAL", "sha256:" + "0" * 64, "<registry>/<repository>", id="name"),
    ],
)
def test_what_the_registry_lacks_is_named(
    repository: str, digest: str, said: str, registry: Proxy, cache: ArtifactCache
) -> None:
    error = refusal(source(registry, digest, repository), cache, registry)
    assert (error.reason, said in error.message) == ("SourceNotFound", True)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        pytest.param({"pytorch_model.bin": b"pickle"}, "PickledWeights", id="pickled"),
        pytest.param({"config.json": b"{}"}, "SourceNotFound", id="no weights"),
    ],
)
def test_an_artifact_without_safetensors_is_refused_before_a_blob_is_asked_for(
    files: dict[str, bytes], reason: str, registry: Proxy, upload: str, cache: ArtifactCache
) -> None:
    digest = oci.push_artifact(upload, "acme/other", files)
    assert refusal(source(registry, digest, "acme/other"), cache, registry).reason == reason
    assert not [path for _, path, _ in registry.requests if "/blobs/" in path]


def test_an_image_without_safetensors_is_refused(registry: Proxy, upload: str, cache: ArtifactCache) -> None:
    digest = oci.push_image(upload, "acme/image", {"etc/os-release": b"Debian"})
    assert refusal(source(registry, digest, "acme/image"), cache, registry).reason == "SourceNotFound"


def _closed(upload: str) -> list[dict[str, object]]:
    return [oci._push_blob(upload, "acme/image", b"compressed", ZSTD)]


def _closed_beside_an_open_one(upload: str) -> list[dict[str, object]]:
    return [oci._push_blob(upload, "acme/image", oci._archive({"config.json": b"{}"}), oci.ARCHIVE), *_closed(upload)]


@pytest.mark.parametrize("layers", [_closed, _closed_beside_an_open_one], ids=["alone", "beside one that can be"])
def test_layers_that_cannot_be_unpacked_are_named(
    layers: Callable[[str], list[dict[str, object]]], registry: Proxy, upload: str, cache: ArtifactCache
) -> None:
    digest = oci.push_manifest(upload, "acme/image", oci._manifest(upload, "acme/image", layers(upload)))
    error = refusal(source(registry, digest, "acme/image"), cache, registry)
    assert error.reason == "SourceNotFound"
    assert ZSTD in error.message
    assert "tar and tar+gzip" in error.message


def test_a_manifest_of_something_else_is_named(registry: Proxy, upload: str, cache: ArtifactCache) -> None:
    digest = oci.push_manifest(upload, "acme/other", {"schemaVersion": 2, "mediaType": oci.MANIFEST, "layers": [{}]})
    error = refusal(source(registry, digest, "acme/other"), cache, registry)
    assert (error.reason, "manifest" in error.message) == ("SourceNotFound", True)


def test_a_registry_that_is_down_is_unreachable(cache: ArtifactCache) -> None:
    nobody = Proxy(0, address="127.0.0.1:9")
    error = refusal(source(nobody, "sha256:" + "0" * 64), cache, nobody)
    assert error.reason == "SourceUnreachable"


def test_a_cancelled_download_ends_and_publishes_nothing(registry: Proxy, upload: str, cache: ArtifactCache) -> None:
    wanted = source(registry, oci.push_artifact(upload, "acme/legal", FILES))
    transfer = Transfer()
    transfer.cancelled.set()
    origins = Origins(Path("/nonexistent"), Hub(), Registries("", frozenset({registry.address})))
    with pytest.raises(Cancelled):
        fetch_artifact(wanted, cache, origins, transfer)
    assert cache.completion(wanted) is None
