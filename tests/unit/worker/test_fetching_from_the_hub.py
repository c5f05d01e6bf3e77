"""hf:// sources, listed by the real huggingface_hub and fetched from a small local hub."""

from collections.abc import Iterator
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
from tests.fixtures import hub as fake
from tests.fixtures.artifacts import artifact_folder

SOURCE = Source("hf://acme/legal", revision="v1")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[fake.Hub]:
    artifact_folder(tmp_path / "hub" / "acme" / "legal" / "v1", tokenizer__json="{}", pytorch_model__bin="pickle")
    with fake.hub(tmp_path / "hub") as server:
        yield server


@pytest.fixture(autouse=True)
def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files come in their order, so that what came before something breaks is always the same."""
    monkeypatch.setattr(parts, "CONNECTIONS", 1)


@pytest.fixture
def cache(tmp_path: Path) -> ArtifactCache:
    return ArtifactCache(tmp_path / "cache", tmp_path / "run")


def fetch(server: fake.Hub, cache: ArtifactCache, source: Source = SOURCE, token: str | None = None) -> Path:
    origins = Origins(Path("/nonexistent"), Hub(server.endpoint, token))
    fetch_artifact(source, cache, origins, Transfer())
    return cache.artifact(source)


def refusal(server: fake.Hub, cache: ArtifactCache, source: Source = SOURCE, token: str | None = None) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(server, cache, source, token)
    assert cache.status(source).phase is not ArtifactPhase.COMPLETE
    return caught.value


def downloads(server: fake.Hub, name: str) -> list[str | None]:
    return [asked for method, path, asked in server.requests if method == "GET" and path.endswith(f"/{name}")]


def test_a_snapshot_holds_the_served_files_and_nothing_else(server: fake.Hub, cache: ArtifactCache) -> None:
    artifact = fetch(server, cache)
    names = sorted(path.name for path in artifact.iterdir())
    assert names == ["COMPLETE", "config.json", "model.safetensors", "tokenizer.json"]
    assert not downloads(server, "pytorch_model.bin")


def test_a_revision_may_be_a_commit(server: fake.Hub, cache: ArtifactCache) -> None:
    commit = fake.commit(server.root / "acme" / "legal" / "v1")
    artifact = fetch(server, cache, Source("hf://acme/legal", revision=commit))
    assert (artifact / "model.safetensors").exists()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server: fake.Hub, cache: ArtifactCache) -> None:
    server.faults.cut_at["model.safetensors"] = [3000]
    artifact = fetch(server, cache)
    original = server.root / "acme" / "legal" / "v1" / "model.safetensors"
    assert (artifact / "model.safetensors").read_bytes() == original.read_bytes()
    assert downloads(server, "model.safetensors") == [None, "bytes=3000-7999"]


def test_a_large_file_goes_on_where_it_stopped_in_another_process_too(server: fake.Hub, cache: ArtifactCache) -> None:
    server.faults.cut_at["model.safetensors"] = [3000, 0]
    assert refusal(server, cache).reason == "SourceUnreachable"
    assert (cache.partial_bytes(SOURCE), downloads(server, "model.safetensors")[0]) == (3002, None)
    server.requests.clear()

    artifact = fetch(server, cache)

    original = server.root / "acme" / "legal" / "v1" / "model.safetensors"
    assert (artifact / "model.safetensors").read_bytes() == original.read_bytes()
    assert downloads(server, "model.safetensors") == ["bytes=3000-7999"]
    assert downloads(server, "config.json") == []


def test_a_large_file_comes_in_parts(server: fake.Hub, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "CONNECTIONS", 4)
    monkeypatch.setattr(parts, "PART_BYTES", 3000)
    server.faults.cut_at["model.safetensors"] = [1000]
    artifact = fetch(server, cache)
    original = server.root / "acme" / "legal" / "v1" / "model.safetensors"
    assert (artifact / "model.safetensors").read_bytes() == original.read_bytes()
    assert {"bytes=0-2999", "bytes=3000-5999", "bytes=6000-7999"} < set(downloads(server, "model.safetensors"))


def test_a_mirror_that_sends_whole_files_alone_is_asked_for_them(
    server: fake.Hub, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "CONNECTIONS", 4)
    monkeypatch.setattr(parts, "PART_BYTES", 3000)
    server.faults.ignore_ranges = True
    artifact = fetch(server, cache)
    original = server.root / "acme" / "legal" / "v1" / "model.safetensors"
    assert (artifact / "model.safetensors").read_bytes() == original.read_bytes()
    assert downloads(server, "model.safetensors")[-1] is None


def test_a_connection_that_breaks_all_the_time_is_given_up_for_now(server: fake.Hub, cache: ArtifactCache) -> None:
    server.faults.cut_at["model.safetensors"] = [100] * 20
    assert refusal(server, cache).reason == "SourceUnreachable"
    assert len(downloads(server, "model.safetensors")) < 10


def test_files_of_two_commits_are_never_published_together(server: fake.Hub, cache: ArtifactCache) -> None:
    branch = server.root / "acme" / "legal" / "v1"
    server.faults.refuse = {"tokenizer.json"}
    refusal(server, cache)
    (branch / "config.json").write_text("[]")  # as large as it was
    (branch / "tokenizer.json").write_text("{} ")
    refusal(server, cache)

    server.faults.refuse.clear()
    artifact = fetch(server, cache)

    assert downloads(server, "model.safetensors") == [None]
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (artifact / name).read_bytes() == (branch / name).read_bytes()


def test_files_that_came_whole_are_not_fetched_again(server: fake.Hub, cache: ArtifactCache) -> None:
    server.faults.refuse.add("tokenizer.json")
    assert refusal(server, cache).reason == "SourceUnreachable"
    assert len(downloads(server, "model.safetensors")) == 1

    server.faults.refuse.clear()
    fetch(server, cache)

    assert len(downloads(server, "model.safetensors")) == 1


def test_what_an_earlier_build_left_of_a_file_makes_room(server: fake.Hub, cache: ArtifactCache) -> None:
    left = cache.partial(SOURCE) / ".cache" / "huggingface" / "download" / "e7a6.1f3c.incomplete"
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(1 << 20))
    server.faults.refuse.add("model.safetensors")

    refusal(server, cache)

    assert not left.exists()
    assert cache.partial_bytes(SOURCE) < 1 << 20


@pytest.mark.parametrize(
    ("name", "names_alone"),
    [
        pytest.param("model.safetensors", False, id="of LFS, in its list"),
        pytest.param("model.safetensors", True, id="of LFS, for the file itself"),
        pytest.param("config.json", False, id="of git, in its list"),
    ],
)
def test_bytes_that_differ_from_what_the_hub_states_are_refused(
    name: str, names_alone: bool, server: fake.Hub, cache: ArtifactCache
) -> None:
    server.faults.names_alone = names_alone
    server.faults.corrupt.add(name)
    error = refusal(server, cache)
    assert error.reason == "DigestMismatch"
    assert name in error.message

    server.faults.corrupt.clear()
    assert fetch(server, cache).is_dir()


@pytest.mark.parametrize("etag", ["of-a-mirror", "0123456789abcdef0123456789abcdef01234567"], ids=["", "a sha1"])
def test_a_mirror_that_has_entity_tags_of_its_own_is_read(
    etag: str, server: fake.Hub, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.faults.names_alone = True
    monkeypatch.setattr(fake, "_etag", lambda path: f"{etag}-{path.name}" if etag == "of-a-mirror" else etag)
    server.faults.cut_at["model.safetensors"] = [3000]
    assert (fetch(server, cache) / "model.safetensors").stat().st_size == 8000
    assert downloads(server, "model.safetensors") == [None, "bytes=3000-7999"]


def test_the_token_stays_with_the_hub_that_sends_downloads_elsewhere(
    server: fake.Hub, cache: ArtifactCache, tmp_path: Path
) -> None:
    server.token = "s3cret"
    with fake.hub(tmp_path / "hub") as elsewhere:
        server.faults.elsewhere = elsewhere.endpoint
        elsewhere.faults.cut_at["model.safetensors"] = [3000]
        fetch(server, cache, token="s3cret")
        assert downloads(elsewhere, "model.safetensors") == [None, "bytes=3000-7999"]
        assert elsewhere.credentials == {None}
    assert server.credentials == {"Bearer s3cret"}


@pytest.mark.parametrize(
    ("source", "reason", "said"),
    [
        pytest.param(Source("hf://acme/none", "v1"), "SourceNotFound", "no such repository", id="repository"),
        pytest.param(Source("hf://acme/legal", "v9"), "SourceNotFound", "no such revision", id="revision"),
        pytest.param(Source("hf://acme/a/b/c", "v1"), "SourceNotFound", "hf://org/name", id="malformed name"),
        pytest.param(Source("hf://acme/pickled", "v1"), "PickledWeights", "pytorch_model.bin", id="pickled"),
    ],
)
def test_what_the_hub_lacks_is_named(
    source: Source, reason: str, said: str, server: fake.Hub, cache: ArtifactCache
) -> None:
    pickled = artifact_folder(server.root / "acme" / "pickled" / "v1", pytorch_model__bin="pickle")
    (pickled / "model.safetensors").unlink()
    error = refusal(server, cache, source)
    assert error.reason == reason
    assert said in error.message


def test_a_private_repository_needs_its_token(server: fake.Hub, cache: ArtifactCache) -> None:
    server.token = "s3cret"
    assert refusal(server, cache).reason == "SourceUnauthorized"
    wrong = refusal(server, cache, token="wrong")
    assert wrong.reason == "SourceUnauthorized"
    assert "wrong" not in wrong.message
    assert fetch(server, cache, token="s3cret").is_dir()


def test_a_hub_that_is_down_is_unreachable(cache: ArtifactCache, server: fake.Hub) -> None:
    server.faults.status = 500
    assert refusal(server, cache).reason == "SourceUnreachable"
    server.endpoint = "http://127.0.0.1:9"  # nothing listens there
    assert refusal(server, cache).reason == "SourceUnreachable"


def test_a_page_in_place_of_the_hubs_answer_is_shown(
    server: fake.Hub, cache: ArtifactCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = b"<!DOCTYPE html><title>Sign in to the proxy</title>"

    def answer(handler: fake._Handler, *_: object, **__: object) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(page)))
        handler.end_headers()
        handler.wfile.write(page)

    monkeypatch.setattr(fake._Handler, "_json", answer)
    error = refusal(server, cache)
    assert error.reason == "SourceUnreachable"
    assert "isn't JSON" in error.message
    assert "Sign in to the proxy" in error.message


def test_a_cancelled_download_ends_and_publishes_nothing(server: fake.Hub, cache: ArtifactCache) -> None:
    transfer = Transfer()
    transfer.cancelled.set()
    with pytest.raises(Cancelled):
        fetch_artifact(SOURCE, cache, Origins(Path("/nonexistent"), Hub(server.endpoint)), transfer)
    assert cache.completion(SOURCE) is None
