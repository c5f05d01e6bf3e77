"""`python -m hack.check`: every check that needs no cluster, one line each; a failed one shows its output."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hack.check import chart, readme
from hack.docs import reference, site
from hack.repository import ROOT, tracked

BIN = Path(sys.executable).parent
PACKAGES = ("operator/reranker_operator", "worker/reranker_worker")
TYPED = (*PACKAGES, "hack", "tests", "bench", "examples")


@dataclass(frozen=True)
class Check:
    """A command, or a function that returns what is wrong."""

    name: str
    run: Callable[[], str]


def command(name: str, *argv: str | Path, cwd: Path = ROOT) -> Check:
    """A check that holds when `argv` exits with 0."""

    def run() -> str:
        path = os.pathsep.join((str(BIN), os.environ.get("PATH", "")))
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, "PATH": path, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout or f"exit status {done.returncode}" if done.returncode else ""

    return Check(name, run)


def checks() -> Iterator[Check]:
    """All checks, quick ones first."""
    yield command("ruff check", "ruff", "check", ".")
    yield command("ruff format", "ruff", "format", "--check", ".")
    yield command("codespell", "codespell", *tracked())
    yield command("yamllint", "yamllint", "--strict", *tracked("*.yaml", "*.yml", ".yamllint"))
    yield command("shellcheck", "shellcheck", *shell_scripts())
    yield command("import contracts", "lint-imports", "--no-cache")
    for distribution in ("operator", "worker"):
        yield command(f"dependencies of {distribution}", "deptry", "--no-ansi", ".", cwd=ROOT / distribution)
    yield Check("generated files", generated_files_differ)
    yield Check("reference pages", reference.differs)
    yield Check("docs site", site.unbuildable)
    yield Check("helm lint", chart.lint)
    yield Check("kubeconform", chart.nonconforming)
    yield Check("kubeconform of the pages", chart.nonconforming_pages)
    yield Check("kube-score", chart.against_policies)
    yield Check("chart's README", readme.differs)
    yield command("mypy", "mypy", *(path for path in TYPED if any((ROOT / path).rglob("*.py"))))


def shell_scripts() -> list[str]:
    """Files that a shell runs, by their first line."""
    scripts = []
    for name in tracked():
        with (ROOT / name).open("rb") as file:
            first = file.readline(64)
        if first.startswith(b"#!") and first.split()[-1].endswith(b"sh"):
            scripts.append(name)
    return scripts


def generated_files_differ() -> str:
    """Name the files that `make generate` would change."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "reranker_operator.resources.crd", folder], cwd=ROOT, check=True)
        written, kept = _contents(Path(folder)), _contents(ROOT / "crds")
    stale = sorted(name for name in written.keys() | kept.keys() if written.get(name) != kept.get(name))
    return f"out of date: {', '.join(stale)} under crds/: run `make generate`" if stale else ""


def _contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def main() -> int:
    """Run the checks, all of them even if one fails; return the exit status."""
    failed = []
    for check in checks():
        started = time.monotonic()
        wrong = check.run()
        print(f"{'FAILED' if wrong else 'ok':<7} {check.name} ({time.monotonic() - started:.1f}s)", flush=True)
        if wrong:
            print(f"{wrong.rstrip()}\n", flush=True)
            failed.append(check.name)
    print(f"check: {', '.join(failed)} failed" if failed else "check: all is well")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
