"""Programs that are built from the Go module proxy, by whatever proxy the machine's `go` is set up for."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from . import gomod
from .paths import build_log, cache_home, locked
from .progress import StepError, output_of, run_logged, step

KUBERNETES_VERSION = "1.34.4"
KUBERNETES_MODULE = gomod.KUBERNETES
# No program keeps debug information, so none is made: a seventh less to compile. Another seventh is the compiler's
# garbage collection, which starts when a process has this much.
COMPILER_FLAGS = "all=-dwarf=false"
COMPILER_MEMORY = {"GOGC": "off", "GOMEMLIMIT": "2GiB"}
# The newest Go that a go.mod asks for: of Kubernetes, CoreDNS and Helm 3, and of the other programs (Prometheus').
GO_FOR_KUBERNETES, GO_FOR_ALL = (1, 24, 0), (1, 26, 7)


@dataclass(frozen=True)
class GoProgram:
    """A main package of a published Go module, or one of ours; `variables` are set by the linker.

    What is built with Kubernetes has its versions of the modules that they share, which are compiled once for all.
    """

    name: str
    module: str
    version: str
    package: str
    variables: Mapping[str, str] = field(default_factory=dict)
    main: Path | None = None  # our own main package, ./NAME, built against the module
    requires: Mapping[str, str] = field(default_factory=dict)  # versions of other modules that it is built against
    tags: tuple[str, ...] = ()
    with_kubernetes: bool = False

    @property
    def build_key(self) -> tuple[str, str, str, tuple[str, ...]]:
        """Return what programs have in common that one command can build: a module's version, linker flags, tags."""
        if self.with_kubernetes:
            return KUBERNETES_MODULE, KUBERNETES_VERSION, "", ()
        return self.module, self.version, linker_flags(self), self.tags


def kubernetes_program(name: str) -> GoProgram:
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
        with_kubernetes=True,
    )


KUBE_APISERVER = kubernetes_program("kube-apiserver")
KUBE_CONTROLLER_MANAGER = kubernetes_program("kube-controller-manager")
KUBE_SCHEDULER = kubernetes_program("kube-scheduler")
KUBE_PROXY = kubernetes_program("kube-proxy")
KUBELET = kubernetes_program("kubelet")
KUBECTL = kubernetes_program("kubectl")

# With the plugins that the cluster uses alone: the others bring the clouds' SDKs, which take minutes to compile. Its
# version and Helm's are the last ones made for KUBERNETES_VERSION.
COREDNS = GoProgram(
    name="coredns",
    module="github.com/coredns/coredns",
    version="1.14.1",
    package="./coredns",
    main=Path(__file__).with_name("coredns") / "main.go",
    with_kubernetes=True,
)
HELM = GoProgram(
    name="helm",
    module="helm.sh/helm/v3",
    version="3.19.5",
    package="helm.sh/helm/v3/cmd/helm",
    variables={
        "helm.sh/helm/v3/internal/version.version": "v3.19.5",
        # What `helm template` and `helm lint` take for the cluster's version when they see no cluster.
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor": "1",
        "helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor": "34",
        "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMajor": "1",
        "helm.sh/helm/v3/pkg/lint/rules.k8sVersionMinor": "34",
    },
    with_kubernetes=True,
)
# All that one module requires, whichever of them are built: another set could choose other versions of what they share.
WITH_KUBERNETES = {program.module: program.version for program in (KUBE_APISERVER, COREDNS, HELM)}
CONTAINERD_MODULE, CONTAINERD_VERSION = "github.com/containerd/containerd/v2", "2.2.9"
CONTAINERD, CONTAINERD_SHIM = (
    GoProgram(name, CONTAINERD_MODULE, CONTAINERD_VERSION, f"./cmd/{name}", tags=("no_btrfs", "no_devmapper", "no_zfs"))
    for name in ("containerd", "containerd-shim-runc-v2")
)
HELM_4 = GoProgram(
    "helm", "helm.sh/helm/v4", "4.3.1", "./cmd/helm", {"helm.sh/helm/v4/internal/version.version": "v4.3.1"}
)
HELM_DOCS = GoProgram("helm-docs", "github.com/norwoodj/helm-docs", "1.14.2", "./cmd/helm-docs")
KUBE_SCORE = GoProgram(
    "kube-score", "github.com/zegl/kube-score", "1.20.0", "./cmd/kube-score", {"main.version": "1.20.0"}
)
KUBECONFORM = GoProgram(
    "kubeconform", "github.com/yannh/kubeconform", "0.8.0", "./cmd/kubeconform", {"main.version": "v0.8.0"}
)


def program_path(program: GoProgram) -> Path:
    """Return where a program's binary is, or will be."""
    own = f"-{hashlib.sha256(program.main.read_bytes()).hexdigest()[:8]}" if program.main else ""
    return cache_home() / f"{program.name}-{program.version}{own}" / program.name


def build(program: GoProgram) -> Path:
    """Return the program's binary, built now unless the cache has it."""
    return build_all([program])[program.name]


def build_all(programs: Iterable[GoProgram]) -> dict[str, Path]:
    """Return the programs' binaries by name, built now unless the cache has them.

    Those of one module, or with Kubernetes, are built by one command, which compiles what they share once.
    """
    wanted = {program.name: program for program in programs}
    in_order = sorted(wanted.values(), key=lambda program: program.build_key)
    for key, group in groupby(in_order, key=lambda program: program.build_key):
        members = list(group)
        if all(program_path(program).exists() for program in members):
            continue
        with locked(cache_home() / "locks" / f"go-{key[0].replace('/', '-')}"):
            _build_missing([program for program in members if not program_path(program).exists()])
    return {name: program_path(program) for name, program in wanted.items()}


def find_or_build(program: GoProgram) -> Path:
    """Return the program on PATH, else build it."""
    found = shutil.which(program.name)
    return Path(found) if found else build(program)


def _build_missing(programs: Sequence[GoProgram]) -> None:
    if not programs:
        return
    names = ", ".join(program.name for program in programs)
    versions = ", ".join(f"{program.name} {program.version}" for program in programs)
    lacking = _lacking_go(GO_FOR_KUBERNETES if programs[0].with_kubernetes else GO_FOR_ALL)
    if lacking:
        raise StepError(f"{names}: built from source, {lacking} (https://go.dev/dl)")
    with (
        step(f"{names} built", doing=f"building {versions}: minutes, the first time"),
        tempfile.TemporaryDirectory(dir=cache_home(), prefix=".go-") as name,
    ):
        _compile(programs, Path(name))
        for program in programs:
            path = program_path(program)
            path.parent.mkdir(exist_ok=True)
            (Path(name) / program.name).rename(path)


def _lacking_go(wanted: tuple[int, ...]) -> str:
    """Say which Go is missing on this machine, nothing where it has one that builds."""
    needs = f"which needs Go {'.'.join(map(str, wanted))} or later"
    if shutil.which("go") is None:
        return needs
    told = output_of("asking for Go's version", ["go", "env", "GOVERSION", "GOTOOLCHAIN"], cwd=cache_home()).split()
    version, toolchain = (*told, "", "")[:2]
    if builds(version, toolchain, wanted):
        return ""
    return f"{needs}; this is {version}, and it fetches no other (GOTOOLCHAIN={toolchain})"


def builds(version: str, toolchain: str, wanted: tuple[int, ...]) -> bool:
    """Return whether a Go of this GOVERSION builds a module of the `wanted` one, or fetches a Go that does.

    toolchain: GOTOOLCHAIN, which Go knows since 1.21. A version that isn't a release's is left to Go to judge.
    """
    numbers = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", version)
    if numbers is None:
        return True
    found = tuple(int(number or 0) for number in numbers.groups())
    fetches = toolchain == "auto" or toolchain.endswith("+auto")
    return found >= wanted or (fetches and found >= (1, 21, 0))


def _compile(programs: Sequence[GoProgram], folder: Path) -> None:
    first = programs[0]
    module, mode = _module(programs, folder / "module")
    argv = ["go", "build", mode, "-buildvcs=false", "-trimpath", "-gcflags", COMPILER_FLAGS]
    argv += ["-ldflags", linker_flags(*programs), "-tags", ",".join(first.tags)]
    run_logged(
        f"building {first.build_key[0]}",
        [*argv, "-o", folder, *(program.package for program in programs)],
        log=build_log(f"go-{'-'.join(first.build_key[:2]).replace('/', '-')}"),
        env={**COMPILER_MEMORY, **os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        cwd=module,
    )


def _module(programs: Sequence[GoProgram], own: Path) -> tuple[Path, str]:
    """Return the folder of the module that these are built from, a folder of our own if need be, and Go's -mod."""
    first = programs[0]
    if first.with_kubernetes:
        go_mod = _kubernetes_go_mod()
    elif first.main:
        required = {first.module: first.version, **first.requires}
        go_mod = gomod.beside(first.name, required, _described(module_folder(first.module, first.version)))
    else:
        return module_folder(first.module, first.version), "-mod=readonly"
    own.mkdir()
    (own / "go.mod").write_text(go_mod)
    for program in programs:
        if program.main:
            (own / program.name).mkdir()
            shutil.copy(program.main, own / program.name)
    return own, "-mod=mod"


def module_folder(module: str, version: str) -> Path:
    """Return a published module's folder in Go's module cache, downloaded now unless that has it."""
    wanted = f"{module}@v{version}"
    answer = output_of(f"downloading {wanted}", ["go", "mod", "download", "-json", wanted], cwd=cache_home())
    return Path(json.loads(answer)["Dir"])


def _described(source: Path) -> dict[str, Any]:
    answer = output_of(f"reading {source.name}'s go.mod", ["go", "mod", "edit", "-json", source / "go.mod"])
    described: dict[str, Any] = json.loads(answer)
    return described


def _kubernetes_go_mod() -> str:
    described = _described(module_folder(KUBERNETES_MODULE, KUBERNETES_VERSION))
    staging = [r["Old"]["Path"] for r in described["Replace"] if r["New"]["Path"].startswith("./staging/")]
    return gomod.beside_kubernetes(WITH_KUBERNETES, described["Go"], staging)


def linker_flags(*programs: GoProgram) -> str:
    """Return -ldflags: no debug information, and the programs' variables; who lacks one of them ignores it."""
    variables = {name: value for program in programs for name, value in program.variables.items()}
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in variables.items())])
