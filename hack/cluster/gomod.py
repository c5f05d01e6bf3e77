"""go.mod files of modules of our own, from which published programs build as their authors build them. No I/O."""

from collections.abc import Mapping, Sequence
from typing import Any

KUBERNETES = "k8s.io/kubernetes"


def beside_kubernetes(required: Mapping[str, str], go: str, staging: Sequence[str]) -> str:
    """Return a go.mod from which Kubernetes' commands build, and what is built with them.

    required: versions by module, Kubernetes' among them. Its own go.mod replaces the staging modules by folders that
    the published module doesn't carry; they are published as v0.MINOR.PATCH.
    """
    staged = "v0." + required[KUBERNETES].split(".", 1)[1]
    requires = "".join(f"\t{module} v{version}\n" for module, version in required.items())
    replaced = "".join(f"\t{module} => {module} {staged}\n" for module in sorted(staging))
    return f"module {KUBERNETES}-build\n\ngo {go}\n\nrequire (\n{requires})\n\nreplace (\n{replaced})\n"


def beside(name: str, required: Mapping[str, str], described: Mapping[str, Any]) -> str:
    """Return a go.mod from which a main package of ours, of this name, builds against the first required module.

    required: versions by module. described: that module's own go.mod. Only a main module's replacements count, so they
    are repeated; but for those by folders, which a published module doesn't carry.
    """
    replaced = [(each["Old"]["Path"], each["New"]) for each in described["Replace"] or () if each["New"].get("Version")]
    lines = [f"require {module} v{version}" for module, version in required.items()]
    lines += [f"replace {old} => {new['Path']} {new['Version']}" for old, new in replaced]
    return f"module {name}-build\n\ngo {described['Go']}\n\n" + "\n".join(lines) + "\n"
