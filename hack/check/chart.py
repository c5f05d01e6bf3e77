"""The chart and the example resources, held against Helm's rules and the schemas of what they are sent to."""

import subprocess
import tempfile
from pathlib import Path

import yaml

from hack.check import policies, schemas
from hack.cluster import golang
from hack.docs import code
from hack.repository import ROOT

CHART = ROOT / "charts/reranker-operator"

#: Every part of the chart that is off by default.
EVERYTHING = (
    "watchNamespaces={search,chat}",
    "metrics.serviceMonitor.enabled=true",
    "metrics.podMonitor.enabled=true",
    "metrics.rules.enabled=true",
    "metrics.dashboard.enabled=true",
    "networkPolicy.enabled=true",
    "networkPolicy.ingressFrom[0].podSelector.matchLabels.app=prometheus",
    "networkPolicy.workers.enabled=true",
    "networkPolicy.workers.clientsFrom[0].podSelector.matchLabels.app=shop",
    "replicas=2",
    "topologySpreadConstraints[0].topologyKey=topology.kubernetes.io/zone",
    "topologySpreadConstraints[0].maxSkew=1",
    "topologySpreadConstraints[0].whenUnsatisfiable=ScheduleAnyway",
    "test.model=bge",
    "imagePullSecrets[0].name=registry",
    "worker.imagePullSecrets[0].name=registry",
    "worker.hfEndpoint=https://hub.example.com",
    "extraEnv[0].name=HTTPS_PROXY",
    "extraEnv[0].value=http://proxy:3128",
    "priorityClassName=system-cluster-critical",
)

#: Values for a cloud.
CLOUDS = ("values-eks.yaml", "values-gke.yaml")

#: Kinds without a schema here: the API server's own check of a CRD is a test; monitors belong to another project.
SKIPPED = "CustomResourceDefinition,ServiceMonitor,PodMonitor,PrometheusRule"


def lint() -> str:
    """Say what `helm lint --strict` finds."""
    done = _helm("lint", "--strict", "--quiet", CHART)
    return done.stdout + done.stderr if done.returncode else ""


def nonconforming() -> str:
    """Say which objects of the chart, or example resources, a strict API server would refuse for their fields."""
    examples = (path.read_text() for path in _examples())
    return objections("\n---\n".join([rendered(), with_everything(), *for_clouds(), *examples]))


def nonconforming_pages() -> str:
    """Say the same of the objects that pages show; those of projects whose schemas aren't here pass."""
    shown = [yaml.safe_dump(each) for _, each in code.manifests(code.everything())]
    return objections("\n---\n".join(shown), "-ignore-missing-schemas")


def against_policies() -> str:
    """Say what a policy checker finds in the chart, with everything on and for each cloud."""
    return policies.unexplained("\n---\n".join([with_everything(), *for_clouds()]))


def with_everything() -> str:
    """The chart with all of its parts."""
    return rendered(*(argument for each in EVERYTHING for argument in ("--set", each)))


def for_clouds() -> list[str]:
    """The chart as each cloud's values have it."""
    return [rendered("--values", str(CHART / values)) for values in CLOUDS]


def objections(objects: str, *options: str) -> str:
    """Say what kubeconform has against a stream of YAML documents; nothing where they conform."""
    with tempfile.TemporaryDirectory() as folder:
        schemas.write_crd_schemas(Path(folder), sorted((ROOT / "crds").glob("*.yaml")))
        folders = (schemas.kubernetes_schemas(), schemas.published_schemas(), folder)
        locations = [f"{each}/{schemas.TEMPLATE}" for each in folders]
        done = subprocess.run(
            [
                golang.build(golang.KUBECONFORM),
                "-strict",
                "-summary",
                *options,
                *("-skip", SKIPPED),
                *(argument for each in locations for argument in ("-schema-location", each)),
                "-",
            ],
            input=objects,
            capture_output=True,
            text=True,
            check=False,
        )
    return done.stdout + done.stderr if done.returncode else ""


def rendered(*arguments: str, namespace: str = "default") -> str:
    """The chart's objects by `helm template`."""
    done = _helm("template", "release", CHART, "--namespace", namespace, *arguments)
    if done.returncode:
        raise RuntimeError(f"helm template fails: {done.stderr}")
    return done.stdout


def _examples() -> list[Path]:
    return sorted(path for path in (ROOT / "examples").rglob("*.yaml") if "apiVersion:" in path.read_text())


def _helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([golang.build(golang.HELM), *arguments], capture_output=True, text=True, check=False)
