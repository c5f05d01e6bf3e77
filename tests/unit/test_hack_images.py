"""The images: tags that follow from content, the pip configuration of builds, and where images go."""

import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hack.cluster.progress import StepError
from hack.images import base, buildah, delivery, layout, pipconfig, recipes
from hack.images.recipes import Recipe

RECIPE = Recipe("reranker-worker", "Dockerfile.worker", ("constraints.txt", "worker"), (("TORCH", "cpu"),))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The files that a worker image is made of."""
    for name in (".dockerignore", "Dockerfile.worker", "constraints.txt", "worker/pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    package = tmp_path / "worker" / "reranker_worker"
    package.mkdir()
    (package / "__init__.py").write_text("")
    return tmp_path


def edit(name: str) -> Callable[[Path], None]:
    def write(repository: Path) -> None:
        path = repository / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("edited")

    return write


@pytest.mark.parametrize(
    "name",
    [
        "Dockerfile.worker",
        "constraints.txt",
        "worker/pyproject.toml",
        "worker/reranker_worker/__init__.py",
        "worker/reranker_worker/new.py",
    ],
)
def test_an_edit_of_what_goes_in_changes_the_tag(repository: Path, name: str) -> None:
    before = recipes.tag(RECIPE, "base", repository)
    edit(name)(repository)
    assert recipes.tag(RECIPE, "base", repository) != before


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "worker/notes.txt",
        "worker/reranker_worker/__pycache__/x.pyc",
        "worker/reranker_worker/_kernel.so",
        "worker/build/lib.py",
    ],
)
def test_an_edit_of_anything_else_keeps_the_tag(repository: Path, name: str) -> None:
    before = recipes.tag(RECIPE, "base", repository)
    edit(name)(repository)
    assert recipes.tag(RECIPE, "base", repository) == before


def test_the_base_and_the_arguments_are_in_the_tag(repository: Path) -> None:
    cuda = Recipe(RECIPE.name, RECIPE.dockerfile, RECIPE.inputs, (("TORCH", "cuda"),))
    tags = {recipes.tag(RECIPE, "a", repository), recipes.tag(RECIPE, "b", repository)}
    assert len(tags | {recipes.tag(cuda, "a", repository)}) == 3


def test_pip_is_set_up_in_a_build_as_on_the_machine_but_for_its_paths() -> None:
    texts = ["[global]\nindex-url = https://a.example/simple\ntimeout = 15\n", "[global]\ntimeout = 30\n"]
    environment = {"PIP_EXTRA_INDEX_URL": "https://b.example/simple", "PIP_FIND_LINKS": "/wheels", "HOME": "/root"}
    assert pipconfig.merged(texts, environment).splitlines() == [
        "[global]",
        f"cert = {pipconfig.CERTIFICATES}",
        "extra-index-url = https://b.example/simple",
        "index-url = https://a.example/simple",
        "timeout = 30",
    ]


def test_pips_configuration_is_mounted_and_in_no_build_argument() -> None:
    arguments = buildah.build_arguments(RECIPE, "localhost/worker:1", "localhost/base:1", Path("/x/pip.conf"))
    assert "--volume=/x/pip.conf:/etc/pip.conf:ro" in arguments
    assert [a for a in arguments if a.startswith("--build-arg")] == [
        "--build-arg=BASE_IMAGE=localhost/base:1",
        "--build-arg=TORCH=cpu",
    ]


@pytest.mark.parametrize(
    ("lines", "mirror"),
    [
        (["bookworm-security http://a.example/sec/", "bookworm http://a.example/debian/"], "http://a.example/debian"),
        (["trixie http://a.example/debian/"], base.DEFAULT_MIRROR),
        (["bookworm cdrom:[disk]/"], base.DEFAULT_MIRROR),
    ],
    ids=["the machine's", "of another release", "not on the network"],
)
def test_the_base_comes_from_the_machines_mirror_where_it_has_the_release(lines: list[str], mirror: str) -> None:
    assert base.mirror_of("bookworm", lines) == mirror


@pytest.mark.parametrize(
    ("environment", "docker", "expected"),
    [
        ({}, False, ("local", "localhost", False)),
        ({}, True, ("local", "localhost", False)),
        ({"CLUSTER": "kind"}, True, ("kind", "localhost", True)),
        ({"CLUSTER": "existing", "IMAGE_REGISTRY": "r.example/x/"}, False, ("existing", "r.example/x", False)),
        ({"CLUSTER": "existing", "IMAGE_REGISTRY": "r.example/x"}, True, ("existing", "r.example/x", True)),
    ],
    ids=["local", "local with docker", "kind", "registry by buildah", "registry by docker"],
)
def test_images_go_where_the_cluster_is(
    environment: dict[str, str], docker: bool, expected: tuple[str, str, bool]
) -> None:
    target = delivery.target(environment, docker=docker)
    assert (target.cluster, target.registry, target.docker) == expected


@pytest.mark.parametrize(
    ("environment", "message"),
    [({"CLUSTER": "kind"}, "needs Docker"), ({"CLUSTER": "k3d"}, "can be local, kind, existing")],
    ids=["kind without docker", "unknown"],
)
def test_a_cluster_that_can_have_no_images_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(StepError, match=message):
        delivery.target(environment, docker=False)


def test_an_image_that_the_user_names_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "existing")
    monkeypatch.setenv("IMAGE_WORKER", "r.example/worker@sha256:1")
    (image,) = delivery.images(["worker"])
    assert (image.reference, image.recipe) == ("r.example/worker@sha256:1", None)
    delivery.build(image)
    delivery.load(image)


def test_an_existing_cluster_needs_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLUSTER", "existing")
    for name in ("IMAGE_REGISTRY", "IMAGE_OPERATOR"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StepError, match="needs IMAGE_REGISTRY"):
        delivery.images(["operator"])


def test_layers_that_the_cluster_has_are_not_archived_again(tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_text("{}")

    def stored(content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs" / "sha256" / digest).write_bytes(content)
        return f"sha256:{digest}"

    known, new, config = stored(b"dependencies"), stored(b"code"), stored(b"config")
    layers = [{"digest": known}, {"digest": new}]
    manifest = stored(json.dumps({"config": {"digest": config}, "layers": layers}).encode())
    manifests = [
        {"digest": manifest, "annotations": {layout.REFERENCE: "localhost/worker:2"}},
        {"digest": "sha256:0", "annotations": {layout.REFERENCE: "localhost/worker:1"}},
    ]
    (folder / "index.json").write_text(json.dumps({"manifests": manifests}))

    layout.write_missing(folder, "localhost/worker:2", {known}, tmp_path / "image.tar")

    with tarfile.open(tmp_path / "image.tar") as tar:
        assert sorted(name for name in tar.getnames() if name.startswith("blobs/")) == sorted(
            f"blobs/{digest.replace(':', '/')}" for digest in (manifest, config, new)
        )
        index = tar.extractfile("index.json")
        assert index is not None
        assert json.loads(index.read())["manifests"] == manifests[:1]
