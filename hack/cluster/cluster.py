"""What a cluster is: its name, its folders, and the record that keeps it the same from one `up` to the next."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.ports import free_ports

from .components import CONTROL_PLANE_PORTS, NODE_PORTS, Layout
from .paths import cache_home, state_home
from .processes import Identity, ProcessTable
from .progress import StepError

API_SERVER_PORT = 6443  # of the whole cluster, on the node's address; all other ports are free ones


@dataclass(frozen=True)
class Cluster:
    """One cluster by name; a control plane alone runs beside others, a whole cluster once on a machine."""

    name: str
    control_plane_only: bool = False
    controllers: bool = True
    image_volumes: bool = False

    @property
    def layout(self) -> Layout:
        """Return the folders of its state."""
        return Layout(state_home() / self.name)

    @property
    def processes(self) -> ProcessTable:
        """Return its processes."""
        return ProcessTable(self.layout.state / "processes", self.layout.state / "logs")

    @property
    def record_file(self) -> Path:
        """Return where its record is kept; it exists as long as the cluster is up."""
        return self.layout.state / "cluster.json"

    @property
    def lock_file(self) -> Path:
        """Return what is locked while the cluster is changed; it outlives the cluster, so it is with the caches."""
        return cache_home() / "locks" / self.name


@dataclass(frozen=True)
class Record:
    """What has to stay the same while a cluster is up."""

    control_plane_only: bool
    controllers: bool
    ports: dict[str, int]
    image_volumes: bool = False
    owner: Identity | None = None  # the process whose end makes the cluster an orphan


def existing(name: str) -> Cluster | None:
    """Return the cluster of that name as it was brought up; None when it isn't."""
    record_file = Cluster(name).record_file
    if not record_file.exists():
        return None
    return _cluster(name, read_record(record_file))


def ensure_record(cluster: Cluster, owner: Identity | None) -> Record:
    """Return the record of a cluster that is up, else write a new one with free ports."""
    path = cluster.record_file
    if path.exists():
        record = read_record(path)
        if _cluster(cluster.name, record) != cluster:
            raise StepError(f"cluster {cluster.name} is up in another shape: take it down first, or choose a --name")
        return record
    names = [*CONTROL_PLANE_PORTS, *NODE_PORTS]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    if not cluster.control_plane_only:
        ports["kube-apiserver"] = API_SERVER_PORT
    record = Record(cluster.control_plane_only, cluster.controllers, ports, cluster.image_volumes, owner)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all: another thread may ask just now whether the cluster is there.
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(record), indent=2))
    draft.replace(path)
    return record


def read_record(path: Path) -> Record:
    """Return the record in a file that `ensure_record` wrote."""
    values = json.loads(path.read_text())
    owner = Identity(**values["owner"]) if values["owner"] else None
    return Record(**{**values, "owner": owner})


def _cluster(name: str, record: Record) -> Cluster:
    return Cluster(name, record.control_plane_only, record.controllers, record.image_volumes)


def orphans() -> list[Cluster]:
    """Return the clusters whose owner ended without taking them down."""
    found = []
    for path in sorted(state_home().glob("*/cluster.json")):
        owner = read_record(path).owner
        cluster = existing(path.parent.name)
        if owner and cluster and not owner.alive:
            found.append(cluster)
    return found
