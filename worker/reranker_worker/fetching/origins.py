"""Where sources may come from: plain data, apart from the clients that fetch, whose imports take a while."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Hub:
    """Which hub, and the credential for it; without an endpoint the public one."""

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Registries:
    """The credentials for registries, as Docker's config.json has them, and which are asked without TLS."""

    docker_config: str = field(default="", repr=False)
    plain_http: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Origins:
    """Where sources may come from: mounted claims and images, the hub, registries; on a laptop, folders, too."""

    claims: Path
    hub: Hub
    registries: Registries = field(default_factory=Registries)
    local_folders: bool = False
    images: Path = Path("/oci")
