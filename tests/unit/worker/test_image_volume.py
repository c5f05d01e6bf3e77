"""oci:// sources whose image the node mounted into the pod: links into the mount, and no registry."""

from pathlib import Path

import pytest

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import artifact_digest
from reranker_worker.fetching.cache import ArtifactCache, served_files
from reranker_worker.fetching.download import fetch_artifact
from reranker_worker.fetching.origins import Hub, Origins
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source

DIGEST = "0" * 64
SOURCE = Source("oci://registry.invalid/acme/bge", f"sha256:{DIGEST}")


@pytest.fixture
def origins(tmp_path: Path) -> Origins:
    return Origins(tmp_path / "pvc", Hub(), images=tmp_path / "oci")


@pytest.fixture
def image(origins: Origins) -> Path:
    """The folder at which the image is mounted."""
    folder = origins.images / DIGEST
    (folder / "models").mkdir(parents=True)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", tmp_path / "run")


def no_room(total_bytes: int) -> None:
    raise AssertionError(f"room for {total_bytes} bytes that aren't brought anywhere")


@pytest.mark.parametrize("folder", ["", "models"])
def test_the_files_of_a_mounted_image_are_served_from_where_they_are(
    image: Path, origins: Origins, cache: ArtifactCache, folder: str
) -> None:
    files = {"config.json": "{}", "model.safetensors": "weights", "README.md": "not served"}
    for name, text in files.items():
        (image / folder / name).write_text(text)
    found = fetch_artifact(SOURCE, cache, origins, Transfer(make_room=no_room))
    artifact = cache.artifact(SOURCE)
    assert sorted(path.name for path in artifact.iterdir()) == ["COMPLETE", "config.json", "model.safetensors"]
    assert (artifact / "model.safetensors").readlink() == image / folder / "model.safetensors"
    assert found.digest == artifact_digest(served_files(image / folder))
    assert cache.completion(SOURCE) == found


def test_a_start_that_broke_off_leaves_nothing_of_it(image: Path, origins: Origins, cache: ArtifactCache) -> None:
    (image / "model.safetensors").write_text("weights")
    cache.partial(SOURCE).mkdir(parents=True)
    (cache.partial(SOURCE) / "tokenizer.json").symlink_to(image / "gone")
    assert set(fetch_artifact(SOURCE, cache, origins, Transfer()).files) == {"model.safetensors"}


def test_links_of_an_image_are_not_followed(
    image: Path, origins: Origins, cache: ArtifactCache, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("theirs")
    (image / "model.safetensors").write_text("weights")
    (image / "config.json").symlink_to(tmp_path / "secret")
    assert set(fetch_artifact(SOURCE, cache, origins, Transfer()).files) == {"model.safetensors"}


def test_an_image_without_weights_is_refused_by_what_it_has(
    image: Path, origins: Origins, cache: ArtifactCache
) -> None:
    (image / "models" / "pytorch_model.bin").write_text("pickle")
    with pytest.raises(SourceError, match=r"pickled \(pytorch_model.bin\)") as refused:
        fetch_artifact(SOURCE, cache, origins, Transfer())
    assert refused.value.reason == "PickledWeights"


def test_files_that_are_others_than_the_digest_says_are_not_served(
    image: Path, origins: Origins, cache: ArtifactCache
) -> None:
    (image / "model.safetensors").write_text("weights")
    wrong = Source(SOURCE.uri, SOURCE.revision, "sha256:" + "1" * 64)
    with pytest.raises(SourceError) as refused:
        fetch_artifact(wrong, cache, origins, Transfer())
    assert refused.value.reason == "DigestMismatch"
    assert cache.completion(wrong) is None
    assert (image / "model.safetensors").exists()


def test_the_image_of_another_digest_is_none_of_the_sources(
    image: Path, origins: Origins, cache: ArtifactCache
) -> None:
    (image / "model.safetensors").write_text("weights")
    other = Source(SOURCE.uri, "sha256:" + "1" * 64)
    with pytest.raises(SourceError, match="the registry didn't answer"):
        fetch_artifact(other, cache, origins, Transfer())
