"""Programs that are built from the Go module proxy, by whatever proxy the machine's `go` is set up for."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .paths import build_log, build_once, cache_home
from .progress import StepError, output_of, run_logged, step

KUBERNETES_VERSION = "1.34.4"
KUBERNETES_MODULE = "k8s.io/kubernetes"


@dataclass(frozen=True)
class GoProgram:
    """A main package of a published Go module; `variables` are set by the linker."""

    name: str
    module: str
    version: str
    package: str
    variables: Mapping[str, str] = field(default_factory=dict)
    about: str = ""  # how long a cold build takes, measured on two cores


def kubernetes_program(name: str, about: str) -> GoProgram:
    """Return a command of Kubernetes; without its version flag a server calls itself v0.0.0, which Helm refuses."""
    major, minor, _ = KUBERNETES_VERSION.split(".")
    version = "k8s.io/component-base/version"
    return GoProgram(
        name=name,
        module=KUBERNETES_MODULE,
        version=KUBERNETES_VERSION,
        package=f"{KUBERNETES_MODULE}/cmd/{name}",
        variables={
            f"{version}.gitVersion": f"v{KUBERNETES_VERSION}",
            f"{version}.gitMajor": major,
            f"{version}.gitMinor": minor,
        },
        about=about,
    )


KUBE_APISERVER = kubernetes_program("kube-apiserver", "3 minutes")
KUBE_CONTROLLER_MANAGER = kubernetes_program("kube-controller-manager", "50 s")
KUBE_SCHEDULER = kubernetes_program("kube-scheduler", "5 s")
KUBE_PROXY = kubernetes_program("kube-proxy", "10 s")
KUBELET = kubernetes_program("kubelet", "20 s")
KUBECTL = kubernetes_program("kubectl", "20 s")

COREDNS = GoProgram("coredns", "github.com/coredns/coredns", "1.15.0", ".", about="2 minutes")
HELM = GoProgram(
    name="helm",
    module="helm.sh/helm/v3",
    version="3.22.0",
    package="./cmd/helm",
    variables={
        "helm.sh/helm/v3/internal/version.version": "v3.22.0",
        # What `helm template` and `helm lint` take for the cluster's version when they see no cluster.
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor": "1",
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor": "34",
        "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor": "1",
        "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor": "34",
    },
    about="40 s",
)
KUBECONFORM = GoProgram(
    "kubeconform", "github.com/yannh/kubeconform", "0.8.0", "./cmd/kubeconform", {"main.version": "v0.8.0"}, "10 s"
)


def program_path(program: GoProgram) -> Path:
    """Return where a program's binary is, or will be."""
    return cache_home() / f"{program.name}-{program.version}" / program.name


def build(program: GoProgram) -> Path:
    """Return the program's binary, built now unless the cache has it."""
    path = program_path(program)
    if not path.exists():
        if shutil.which("go") is None:
            raise StepError(f"{program.name} is built from source: install Go 1.24 or later (https://go.dev/dl)")
        with step(f"{program.name} built", doing=f"building {program.name} {program.version}, about {program.about}"):
            build_once(path.parent, lambda folder: _compile(program, folder))
    return path


def find_or_build(program: GoProgram) -> Path:
    """Return the program on PATH, else build it."""
    found = shutil.which(program.name)
    return Path(found) if found else build(program)


def _compile(program: GoProgram, folder: Path) -> None:
    log = build_log(f"{program.name}-{program.version}")
    source = _download(program)
    if program.module == KUBERNETES_MODULE:
        # Its own go.mod replaces the staging modules by folders that the published module does not carry.
        module, mode = folder / "module", "-mod=mod"
        module.mkdir()
        (module / "go.mod").write_text(_kubernetes_go_mod(source))
    else:
        module, mode = source, "-mod=readonly"
    argv = ["go", "build", mode, "-buildvcs=false", "-trimpath", "-ldflags", linker_flags(program)]
    run_logged(
        f"building {program.name}",
        [*argv, "-o", folder / program.name, program.package],
        log=log,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        cwd=module,
    )
    shutil.rmtree(folder / "module", ignore_errors=True)


def _download(program: GoProgram) -> Path:
    """Return the module's folder in Go's module cache."""
    wanted = f"{program.module}@v{program.version}"
    answer = output_of(f"downloading {wanted}", ["go", "mod", "download", "-json", wanted], cwd=cache_home())
    return Path(json.loads(answer)["Dir"])


def _kubernetes_go_mod(source: Path) -> str:
    answer = output_of("reading Kubernetes' go.mod", ["go", "mod", "edit", "-json", source / "go.mod"])
    described = json.loads(answer)
    staging = [r["Old"]["Path"] for r in described["Replace"] if r["New"]["Path"].startswith("./staging/")]
    return kubernetes_go_mod(KUBERNETES_VERSION, described["Go"], staging)


def kubernetes_go_mod(version: str, go: str, staging: list[str]) -> str:
    """Return a go.mod from which Kubernetes' commands build: staging modules are published as v0.MINOR.PATCH."""
    staged = "v0." + version.split(".", 1)[1]
    replaced = "".join(f"\t{module} => {module} {staged}\n" for module in sorted(staging))
    return (
        f"module {KUBERNETES_MODULE}-build\n\ngo {go}\n\nrequire {KUBERNETES_MODULE} v{version}\n\n"
        f"replace (\n{replaced})\n"
    )


def linker_flags(program: GoProgram) -> str:
    """Return -ldflags: no debug information, and the program's variables."""
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in program.variables.items())])
