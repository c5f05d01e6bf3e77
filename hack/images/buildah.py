"""Builds by buildah: no daemon, no registry; what a build writes is kept in the cache."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hack.cluster import debian
from hack.cluster.paths import build_log, cache_home
from hack.cluster.progress import output_of, run_logged
from hack.repository import ROOT

from . import base, pipconfig
from .recipes import Recipe

# In a mount namespace of its own the program sees its packages as installed: it starts itself again without the
# variables that would show it its libraries.
AS_INSTALLED = (
    *("unshare", "--mount", "sh", "-c"),
    'mount -t overlay -o ro,lowerdir="$1/usr:/usr" packages /usr && shift && exec "$@"',
    "sh",
)
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}\n'


def store() -> Path:
    """Return the folder of buildah's images and layers."""
    return cache_home() / "buildah"


def exists(reference: str) -> bool:
    """Return whether the store has this image."""
    return bool(_output("listing images", "images", "--quiet", "--filter", f"reference={reference}").strip())


def build_base() -> str:
    """Return the base image's reference, built now unless the store has it."""
    if not exists(base.REFERENCE):
        archive = base.root_file_system()
        with tempfile.TemporaryDirectory() as name:
            dockerfile = Path(name) / "Dockerfile"
            dockerfile.write_text(f'FROM scratch\nADD {archive.name} /\nCMD ["python3"]\n')
            _build("base image", [f"--tag={base.REFERENCE}", f"--file={dockerfile}"], archive.parent, "image-base")
    return base.REFERENCE


def build(recipe: Recipe, reference: str) -> None:
    """Build one image on the local base, with this machine's certificates and pip configuration at hand."""
    with tempfile.TemporaryDirectory() as name:
        pip_config = Path(name) / "pip.conf"
        pipconfig.write(pip_config)
        arguments = build_arguments(recipe, reference, build_base(), pip_config)
        _build(f"image {recipe.name}", arguments, ROOT, f"image-{recipe.name}")


def build_arguments(recipe: Recipe, reference: str, base_image: str, pip_config: Path) -> list[str]:
    """Return buildah's arguments for one image; what is mounted is in no layer."""
    mounts = [f"--volume={pip_config}:/etc/pip.conf:ro"]
    if pipconfig.CERTIFICATES.exists():
        mounts.append(f"--volume={pipconfig.CERTIFICATES}:{pipconfig.CERTIFICATES}:ro")
    settings = (("BASE_IMAGE", base_image), *recipe.arguments)
    return [
        *["--layers", "--force-rm", "--network=host", "--isolation=chroot", f"--file={ROOT / recipe.dockerfile}"],
        *(f"--build-arg={name}={value}" for name, value in settings),
        *([f"--build-context=wheels={recipe.wheels}"] if recipe.wheels else []),
        *mounts,
        f"--tag={reference}",
    ]


def write_layout(reference: str) -> Path:
    """Return an OCI layout that holds an image, among others: layers that it has already are not written again."""
    layout = store() / "layout"
    _output(f"writing {reference}", "push", "--disable-compression", reference, f"oci:{layout}:{reference}")
    return layout


def push(reference: str) -> None:
    """Push an image to the registry in its name."""
    _output(f"pushing {reference}", "push", reference, f"docker://{reference}")


def _build(what: str, arguments: Sequence[str], context: Path, log: str) -> None:
    argv = _command("build", *arguments, str(context))
    run_logged(f"building {what}", argv, log=build_log(log), env=_environment())


def _output(what: str, *arguments: str) -> str:
    return output_of(what, _command(*arguments), env=_environment())


def _command(command: str, *arguments: str) -> list[str | Path]:
    places = [f"--root={store() / 'storage'}", f"--runroot={store() / 'run'}", "--storage-driver=overlay"]
    policy = ["--signature-policy", str(_policy())] if command in {"build", "push"} else []
    return [*AS_INSTALLED, debian.unpacked(debian.IMAGES), "buildah", *places, command, *policy, *arguments]


def _policy() -> Path:
    path = store() / "policy.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(POLICY)
    return path


def _environment() -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(store())}
