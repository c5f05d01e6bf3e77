"""pvc:// sources: what is copied, and what is refused."""

import errno
import json
import os
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from reranker_worker.errors import SourceError
from reranker_worker.fetching.artifacts import ArtifactPhase
from reranker_worker.fetching.cache import ArtifactCache
from reranker_worker.fetching.download import fetch_artifact
from reranker_worker.fetching.origins import Hub, Origins
from reranker_worker.fetching.transfer import Cancelled, Transfer
from reranker_worker.manifest import Source
from tests.fixtures.artifacts import artifact_folder


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", tmp_path / "run")


@pytest.fixture
def origins(tmp_path: Path) -> Origins:
    (tmp_path / "pvc" / "models").mkdir(parents=True)
    return Origins(tmp_path / "pvc", Hub())


def sha256sum(folder: Path, *names: str) -> str:
    listing = subprocess.run(["sha256sum", *names], cwd=folder, capture_output=True, check=True).stdout
    digest = subprocess.run(["sha256sum"], input=listing, capture_output=True, check=True).stdout
    return f"sha256:{digest.decode().split()[0]}"


def refusal(source: Source, cache: ArtifactCache, origins: Origins) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch_artifact(source, cache, origins, Transfer())
    assert cache.status(source).phase is not ArtifactPhase.COMPLETE
    return caught.value


def test_only_served_files_of_the_top_folder_are_copied(cache: ArtifactCache, origins: Origins) -> None:
    folder = artifact_folder(origins.claims / "models" / "legal", vocab__txt="[PAD]", optimizer__pt="pickle")
    artifact_folder(folder / "checkpoint-100")
    source = Source("pvc://models/legal")

    fetch_artifact(source, cache, origins, Transfer())

    names = sorted(path.name for path in cache.artifact(source).iterdir())
    assert names == ["COMPLETE", "config.json", "model.safetensors", "vocab.txt"]
    assert not cache.partial(source).exists()


def test_the_digest_is_what_sha256sum_says_of_its_own_listing(cache: ArtifactCache, origins: Origins) -> None:
    folder = artifact_folder(origins.claims / "models" / "legal", tokenizer__json="{}")
    source = Source("pvc://models/legal")

    completion = fetch_artifact(source, cache, origins, Transfer())

    assert completion.digest == sha256sum(folder, "config.json", "model.safetensors", "tokenizer.json")
    assert cache.completion(source) == completion
    assert json.loads((cache.artifact(source) / "COMPLETE").read_text())["files"]["config.json"]["size"] == 2


def test_a_wrong_digest_is_refused_with_both_digests_named(cache: ArtifactCache, origins: Origins) -> None:
    folder = artifact_folder(origins.claims / "models" / "legal")
    wanted = "sha256:" + "0" * 64
    error = refusal(Source("pvc://models/legal", digest=wanted), cache, origins)
    assert error.reason == "DigestMismatch"
    assert wanted in error.message
    assert sha256sum(folder, "config.json", "model.safetensors") in error.message


def test_after_a_wrong_digest_the_repaired_source_is_fetched_anew(cache: ArtifactCache, origins: Origins) -> None:
    folder = artifact_folder(origins.claims / "models" / "legal", vocab__txt="left over")
    good = artifact_folder(origins.claims / "models" / "good", model__safetensors="repaired")
    source = Source("pvc://models/legal", digest=sha256sum(good, "config.json", "model.safetensors"))
    refusal(source, cache, origins)

    (folder / "vocab.txt").unlink()
    (folder / "model.safetensors").write_text("repaired")

    assert fetch_artifact(source, cache, origins, Transfer()).digest == source.digest


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        pytest.param("pvc://models/../other/secret", "not of the form", id="a step upwards"),
        pytest.param("pvc://..", "not of the form", id="a step upwards as the claim"),
        pytest.param("pvc://models//etc", "not of the form", id="an absolute path"),
        pytest.param("pvc://Models/legal", "not of the form", id="not a claim's name"),
        pytest.param("pvc://elsewhere/legal", "isn't mounted", id="a claim that isn't mounted"),
        pytest.param("pvc://models/missing", "no such folder", id="no folder"),
        pytest.param("pvc://models/outward", "link out of the claim", id="a folder link out of the claim"),
        pytest.param("pvc://models/leaky", "link out of the claim", id="a file link out of the claim"),
        pytest.param("pvc://models/empty", r"no *.safetensors", id="nothing to serve"),
        pytest.param("ftp://host/legal", "no such kind of source", id="an unknown scheme"),
        pytest.param("file:///etc", "no such kind of source", id="a folder of the machine"),
    ],
)
def test_a_source_that_cannot_be_read_is_not_found(uri: str, said: str, cache: ArtifactCache, origins: Origins) -> None:
    secret = artifact_folder(origins.claims / "other" / "secret")
    models = origins.claims / "models"
    (models / "outward").symlink_to(secret)
    (models / "empty").mkdir()
    leaky = artifact_folder(models / "leaky")
    (leaky / "tokenizer.json").symlink_to(secret / "config.json")

    error = refusal(Source(uri), cache, origins)

    assert error.reason == "SourceNotFound"
    assert said in error.message


def test_links_inside_the_claim_are_followed_as_hub_caches_need_it(cache: ArtifactCache, origins: Origins) -> None:
    blobs = artifact_folder(origins.claims / "models" / "blobs")
    snapshot = origins.claims / "models" / "snapshot"
    snapshot.mkdir()
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).symlink_to(f"../blobs/{name}")
    source = Source("pvc://models/snapshot")

    fetch_artifact(source, cache, origins, Transfer())

    copied = cache.artifact(source) / "model.safetensors"
    assert not copied.is_symlink()
    assert copied.read_text() == (blobs / "model.safetensors").read_text()


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))  # the system takes short paths only


@pytest.mark.parametrize("make", [_pipe, _socket, Path.mkdir], ids=["pipe", "socket", "folder"])
def test_what_has_a_files_name_and_is_none_is_refused_and_not_waited_for(
    make: Callable[[Path], None],
    cache: ArtifactCache,
    origins: Origins,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = artifact_folder(origins.claims / "models" / "legal")
    (folder / "model.safetensors").unlink()
    monkeypatch.chdir(tmp_path)
    make(folder / "model.safetensors")
    error = refusal(Source("pvc://models/legal"), cache, origins)
    assert error.reason == "SourceNotFound"
    assert "model.safetensors isn't a regular file" in error.message


def test_a_pipe_that_takes_a_files_place_meanwhile_is_not_waited_for(cache: ArtifactCache, origins: Origins) -> None:
    weights = artifact_folder(origins.claims / "models" / "legal") / "model.safetensors"

    def replaced(_: int) -> None:
        weights.unlink()
        os.mkfifo(weights)

    with pytest.raises(SourceError, match="isn't a regular file"):
        fetch_artifact(Source("pvc://models/legal"), cache, origins, Transfer(replaced))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "model.ckpt"])
def test_a_source_with_pickled_weights_alone_is_refused_by_name(
    name: str, cache: ArtifactCache, origins: Origins
) -> None:
    folder = artifact_folder(origins.claims / "models" / "old", **{name: "pickle"})
    (folder / "model.safetensors").unlink()
    error = refusal(Source("pvc://models/old"), cache, origins)
    assert error.reason == "PickledWeights"
    assert name in error.message


def test_a_cancelled_copy_publishes_nothing(cache: ArtifactCache, origins: Origins) -> None:
    artifact_folder(origins.claims / "models" / "legal")
    transfer = Transfer()
    transfer.cancelled.set()
    with pytest.raises(Cancelled):
        fetch_artifact(Source("pvc://models/legal"), cache, origins, transfer)
    assert cache.completion(Source("pvc://models/legal")) is None


def test_a_copy_that_broke_off_leaves_nothing_in_the_next_one(cache: ArtifactCache, origins: Origins) -> None:
    source = Source("pvc://models/legal")
    folder = artifact_folder(origins.claims / "models" / "legal")
    cache.partial(source).mkdir(parents=True)
    (cache.partial(source) / "vocab.txt").write_text("of an earlier state of the source")
    completion = fetch_artifact(source, cache, origins, Transfer())
    assert completion.digest == sha256sum(folder, "config.json", "model.safetensors")


@pytest.mark.parametrize(("code", "reason"), [(errno.ENOSPC, "DiskFull"), (errno.EDQUOT, "DiskFull")])
def test_a_full_disk_is_told_as_one(
    code: int, reason: str, cache: ArtifactCache, origins: Origins, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(code, "No space left on device")

    artifact_folder(origins.claims / "models" / "legal")
    monkeypatch.setattr("reranker_worker.fetching.folders._copy_file", full)
    assert refusal(Source("pvc://models/legal"), cache, origins).reason == reason


def test_a_cache_that_others_fill_is_only_read(cache: ArtifactCache, origins: Origins) -> None:
    artifact_folder(origins.claims / "models" / "legal")
    source = Source("pvc://models/legal")
    read_only = replace(cache, read_only=True)
    refused = refusal(source, read_only, origins)
    assert refused.reason == "NotInCache"
    assert "pvc://models/legal: isn't in the cache" in refused.message
    assert not cache.root.exists()
    completion = fetch_artifact(source, cache, origins, Transfer())
    written = {path: path.stat().st_mtime_ns for path in cache.root.rglob("*")}
    assert fetch_artifact(source, read_only, origins, Transfer()) == completion
    assert {path: path.stat().st_mtime_ns for path in cache.root.rglob("*")} == written
