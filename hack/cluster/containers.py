"""containerd by its own command line: images go in, containers are ended and forgotten."""

import signal
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import debian
from .components import Layout
from .processes import accepts, identity_of, send
from .progress import output_of

KUBERNETES_NAMESPACE = "k8s.io"
SHIM = "containerd-shim-runc-v2"
SHIM_GRACE_S = 5.0
POLL_S = 0.05


@dataclass(frozen=True)
class Containerd:
    """A containerd that listens on a socket."""

    ctr: Path
    socket: Path
    environment: Mapping[str, str]

    @property
    def answers(self) -> bool:
        """Return whether it runs."""
        return accepts(self.socket)

    def has_image(self, reference: str) -> bool:
        """Return whether the image is there, all of its layers unpacked."""
        listed = self._ctr("listing images", "images", "check", "--quiet", f"name=={reference}")
        return reference in listed.split()

    def contents(self) -> set[str]:
        """Return the digests of the manifests and layers that it stores."""
        return set(self._ctr("listing contents", "content", "list", "--quiet").split())

    def import_archive(self, archive: Path) -> None:
        """Import a docker or OCI archive under the names that it carries."""
        self._ctr(f"importing {archive.name}", "images", "import", str(archive))

    def forget_containers(self) -> None:
        """Remove every container's record and file system; their processes have ended."""
        if names := self._ctr("listing containers", "containers", "list", "--quiet").split():
            self._ctr("removing containers", "containers", "rm", *names)

    def _ctr(self, what: str, *arguments: str) -> str:
        argv: list[str | Path] = [self.ctr, "--address", self.socket, "--namespace", KUBERNETES_NAMESPACE, *arguments]
        return output_of(what, argv, env=self.environment)


def of_node(layout: Layout) -> Containerd:
    """Return the node's containerd."""
    root = debian.unpacked(debian.NODE)
    return Containerd(root / "usr/bin/ctr", layout.containerd_socket, debian.environment(root))


def kill_all(socket: Path) -> None:
    """Kill the processes of all containers; their shims, which end by themselves then, are killed if they don't."""
    shims = shim_pids(socket)
    identities = [identity for pid in shims if (identity := identity_of(pid))]
    send(signal.SIGKILL, descendants(shims, parents()))
    deadline = time.monotonic() + SHIM_GRACE_S
    while any(identity.alive for identity in identities) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    send(signal.SIGKILL, [identity.pid for identity in identities if identity.alive])


def shim_pids(socket: Path) -> list[int]:
    """Return the shims that serve the containerd on this socket."""
    found = []
    for pid, words in _command_lines():
        if words and Path(words[0]).name == SHIM and str(socket) in words:
            found.append(pid)
    return found


def parents() -> dict[int, int]:
    """Return each process's parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def descendants(roots: Iterable[int], parent_of: Mapping[int, int]) -> set[int]:
    """Return the children of these processes, theirs, and so on; not the processes themselves."""
    found: set[int] = set()
    frontier = set(roots)
    while frontier:
        frontier = {pid for pid, parent in parent_of.items() if parent in frontier} - found
        found |= frontier
    return found


def _command_lines() -> Iterable[tuple[int, list[str]]]:
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield int(command.parent.name), command.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
