"""Programs that are built from the Go module proxy, by whatever proxy the machine's `go` is set up for."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from .paths import build_log, cache_home, locked
from .progress import StepError, output_of, run_logged, step

KUBERNETES_VERSION = "1.34.4"
KUBERNETES_MODULE = "k8s.io/kubernetes"


@dataclass(frozen=True)
class GoProgram:
    """A main package of a published Go module, or one of ours; `variables` are set by the linker."""

    name: str
    module: str
    version: str
    package: str
    variables: Mapping[str, str] = field(default_factory=dict)
    main: Path | None = None  # our own main package, built against the module
    requires: Mapping[str, str] = field(default_factory=dict)  # versions of other modules that it is built against
    tags: tuple[str, ...] = ()

    @property
    def build_key(self) -> tuple[str, str, str, tuple[str, ...]]:
        """Return what programs have in common that one command can build: a module's version, linker flags, tags."""
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
    )


KUBE_APISERVER = kubernetes_program("kube-apiserver")
KUBE_CONTROLLER_MANAGER = kubernetes_program("kube-controller-manager")
KUBE_SCHEDULER = kubernetes_program("kube-scheduler")
KUBE_PROXY = kubernetes_program("kube-proxy")
KUBELET = kubernetes_program("kubelet")
KUBECTL = kubernetes_program("kubectl")

# With the plugins that the cluster uses alone: the others bring the clouds' SDKs, which take minutes to compile.
COREDNS = GoProgram(
    "coredns", "github.com/coredns/coredns", "1.15.0", ".", main=Path(__file__).with_name("coredns") / "main.go"
)
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

    Those of one module are built by one command, which compiles what they share once.
    """
    wanted = {program.name: program for program in programs}
    in_order = sorted(wanted.values(), key=lambda program: program.build_key)
    for _, group in groupby(in_order, key=lambda program: program.build_key):
        members = list(group)
        if all(program_path(program).exists() for program in members):
            continue
        with locked(cache_home() / "locks" / f"go-{members[0].module.replace('/', '-')}"):
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
    if shutil.which("go") is None:
        raise StepError(f"{names}: built from source, which needs Go 1.26 or later (https://go.dev/dl)")
    with (
        step(f"{names} built", doing=f"building {names} {programs[0].version}: minutes, the first time"),
        tempfile.TemporaryDirectory(dir=cache_home(), prefix=".go-") as name,
    ):
        _compile(programs, Path(name))
        for program in programs:
            path = program_path(program)
            path.parent.mkdir(exist_ok=True)
            (Path(name) / program.name).rename(path)


def _compile(programs: Sequence[GoProgram], folder: Path) -> None:
    first = programs[0]
    source = module_folder(first.module, first.version)
    module, mode = folder / "module", "-mod=mod"
    if first.module == KUBERNETES_MODULE:
        # Its own go.mod replaces the staging modules by folders that the published module does not carry.
        module.mkdir()
        (module / "go.mod").write_text(_kubernetes_go_mod(source))
    elif first.main:
        module.mkdir()
        shutil.copy(first.main, module)
        (module / "go.mod").write_text(own_go_mod(first, _described(source)))
    else:
        module, mode = source, "-mod=readonly"
    argv = [
        "go",
        "build",
        mode,
        "-buildvcs=false",
        "-trimpath",
        "-ldflags",
        linker_flags(first),
        "-tags",
        ",".join(first.tags),
    ]
    target = folder / first.name if first.main else folder  # a command in a folder of its own is called after it
    run_logged(
        f"building {first.module}",
        [*argv, "-o", target, *(program.package for program in programs)],
        log=build_log(f"go-{first.module.replace('/', '-')}-{first.version}"),
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        cwd=module,
    )


def module_folder(module: str, version: str) -> Path:
    """Return a published module's folder in Go's module cache, downloaded now unless that has it."""
    wanted = f"{module}@v{version}"
    answer = output_of(f"downloading {wanted}", ["go", "mod", "download", "-json", wanted], cwd=cache_home())
    return Path(json.loads(answer)["Dir"])


def _described(source: Path) -> dict[str, Any]:
    answer = output_of(f"reading {source.name}'s go.mod", ["go", "mod", "edit", "-json", source / "go.mod"])
    described: dict[str, Any] = json.loads(answer)
    return described


def _kubernetes_go_mod(source: Path) -> str:
    described = _described(source)
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


def own_go_mod(program: GoProgram, described: Mapping[str, Any]) -> str:
    """Return a go.mod from which a main package of ours builds against the program's module as that builds itself.

    described: the module's own go.mod. Only a main module's replacements count, so they are repeated; but for those by
    folders, which a published module doesn't carry.
    """
    required = {program.module: program.version, **program.requires}
    replaced = [(each["Old"]["Path"], each["New"]) for each in described["Replace"] or () if each["New"].get("Version")]
    lines = [f"require {module} v{version}" for module, version in required.items()]
    lines += [f"replace {old} => {new['Path']} {new['Version']}" for old, new in replaced]
    return f"module {program.name}-build\n\ngo {described['Go']}\n\n" + "\n".join(lines) + "\n"


def linker_flags(program: GoProgram) -> str:
    """Return -ldflags: no debug information, and the program's variables."""
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in program.variables.items())])
