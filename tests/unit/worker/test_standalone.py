"""One model without Kubernetes: the manifest that its flags stand for, and the copies that its folder leaves."""

import os
from pathlib import Path

import pytest

from reranker_worker.__main__ import run
from reranker_worker.errors import FlagError
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.fetching.download import fetch_artifact
from reranker_worker.fetching.locks import held
from reranker_worker.fetching.origins import Hub, Origins
from reranker_worker.fetching.transfer import Transfer
from reranker_worker.manifest import Source
from reranker_worker.settings import ServeSettings
from reranker_worker.standalone import forget_older_copies, standalone_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "my-ranker"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", tmp_path / "run")


def served_source(folder: Path, cache: ArtifactCache) -> Source:
    """Serve a folder as it is now: the older copies go, and the new one is made."""
    manifest = standalone_manifest(ServeSettings(model=str(folder)))
    forget_older_copies(cache, manifest)
    source = manifest.models[0].source
    if cache.completion(source) is None:
        fetch_artifact(source, cache, Origins(folder, Hub(), local_folders=True), Transfer())
    return source


def touch(folder: Path, number: int) -> None:
    os.utime(folder / "model.safetensors", ns=(number, number))


def test_of_a_folder_that_is_edited_one_copy_is_kept(folder: Path, cache: ArtifactCache, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"others")
    kept = served_source(other, cache)
    copies = []
    for number in (1, 2, 3):
        touch(folder, number)
        copies.append(served_source(folder, cache))
    assert len(set(copies)) == 3
    assert [cache.completion(copy) is not None for copy in (kept, *copies)] == [True, False, False, True]


def test_a_copy_that_another_process_is_at_is_kept(folder: Path, cache: ArtifactCache) -> None:
    touch(folder, 1)
    before = served_source(folder, cache)
    touch(folder, 2)
    with held(cache.lock(cache.artifact(before).name)):
        served_source(folder, cache)
    assert cache.completion(before) is not None


def test_a_folder_has_no_revisions(folder: Path) -> None:
    with pytest.raises(FlagError, match=r"--revision v1: .*my-ranker is a folder"):
        standalone_manifest(ServeSettings(model=str(folder), revision="v1"))
    assert standalone_manifest(ServeSettings(model="acme/ranker", revision="v1")).models[0].source.revision == "v1"


@pytest.mark.parametrize("names", [[], ["pytorch_model.bin", "README.md"]], ids=["empty", "nothing that is served"])
def test_a_digest_of_nothing_is_refused(names: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    assert run(["digest", str(tmp_path)]) == 2
    out, said = capsys.readouterr()
    assert out == ""
    assert "none of the files that are served: *.safetensors" in said


def test_a_digest_is_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["digest", str(folder)]) == 0
    assert capsys.readouterr().out.startswith("sha256:")
