"""What Argo CD and kstatus make of objects: asks a program of ours that is built of their own code."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster import golang

Json = dict[str, Any]

ARGO_CD = "github.com/argoproj/argo-cd/v3"
ARGO_CD_VERSION = "3.2.12"  # the last one whose gitops-engine is a module of its own
PROGRAM = golang.GoProgram(
    name="gitops-verdict",
    module=ARGO_CD,
    version=ARGO_CD_VERSION,
    package="./gitops-verdict",
    main=Path(__file__).with_name("verdict") / "main.go",
    requires={"sigs.k8s.io/cli-utils": "0.37.2"},
)

#: The members of argocd-cm that hold health checks are called so, then <group>_<kind>.
HEALTH_CHECK = "resource.customizations.health."


@dataclass(frozen=True)
class Verdict:
    """Argo CD's health, "" where it has no opinion; kstatus's status; whether Argo CD sees a difference."""

    argo: str
    argo_message: str
    kstatus: str
    kstatus_message: str
    out_of_sync: bool


def health_checks(argocd_cm: Mapping[str, Any]) -> dict[str, str]:
    """The Lua of each <group>/<kind> in a ConfigMap argocd-cm."""
    found = {
        name.removeprefix(HEALTH_CHECK): lua for name, lua in argocd_cm["data"].items() if name.startswith(HEALTH_CHECK)
    }
    return {"/".join(kind.rsplit("_", 1)): lua for kind, lua in found.items()}


def verdicts(checks: Mapping[str, str], objects: Iterable[tuple[Json, Json | None]]) -> list[Verdict]:
    """Judge live objects, each beside what was applied, or None."""
    asked = {"healthChecks": checks, "objects": [{"live": live, "wanted": wanted} for live, wanted in objects]}
    done = subprocess.run([golang.build(PROGRAM)], input=json.dumps(asked), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{PROGRAM.name} fails: {done.stderr}")
    return [
        Verdict(
            argo=each["argo"]["status"],
            argo_message=each["argo"]["message"],
            kstatus=each["kstatus"]["status"],
            kstatus_message=each["kstatus"]["message"],
            out_of_sync=each["outOfSync"],
        )
        for each in json.loads(done.stdout)
    ]
