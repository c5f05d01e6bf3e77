"""`python -m hack.clients`: the body of `make clients`."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from hack.clients import service_stage, stage
from hack.clients.control import cues
from hack.clients.environments import ENVIRONMENTS, Environment, find_python, ready
from hack.clients.matrix import Check, Skip, closing_line, table, table_of, with_table
from hack.clients.stage import Stage
from hack.cluster.progress import StepError, step
from hack.repository import ROOT

PAGE = ROOT / "docs" / "clients.md"
TESTS = ROOT / "tests" / "clients"
THROUGH: Mapping[str, Callable[[], AbstractContextManager[Stage]]] = {
    "processes": stage.local_stage,
    "service": service_stage.service_stage,
}
# No client tells its maker about a test run.
_QUIET = {"HAYSTACK_TELEMETRY_ENABLED": "False", "LANGSMITH_TRACING": "false"}


def main() -> int:
    """Run the clients' checks; return the exit status."""
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m hack.clients", description=__doc__)
    parser.add_argument("--only", choices=[e.name for e in ENVIRONMENTS], help="run one environment")
    parser.add_argument("--select", default="", metavar="EXPRESSION", help="pytest's -k; with it, the page stays")
    parser.add_argument("--through", choices=THROUGH, default="service", help="what serves (service)")
    args = parser.parse_args()
    chosen = [environment for environment in ENVIRONMENTS if args.only in (None, environment.name)]
    try:
        checks, skips = run(chosen, args.select, args.through)
    except StepError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"\n{table(checks)}\n")
    if args.through == "service" and not args.select:
        page = PAGE.read_text()
        known = table_of(page) if args.only or skips else ""  # of clients that weren't run now
        PAGE.write_text(with_table(page, table(checks, known)))
    for skip in skips:
        print(f"skipped: {', '.join(skip.bindings)}: {skip.reason}")
    print(closing_line(checks, skips))
    return int(not checks or not all(check.passed for check in checks))


def run(environments: Sequence[Environment], select: str, through: str) -> tuple[list[Check], list[Skip]]:
    """Run each environment's tests against one stage."""
    pythons, skips = _pythons(environments)
    checks: list[Check] = []
    with _served(THROUGH[through]) as told:
        for environment, python in pythons:
            with step(f"the clients of {environment.name} were checked"):
                checks += _checked(environment, python, told, select)
    return checks, skips


def _pythons(environments: Sequence[Environment]) -> tuple[list[tuple[Environment, Path]], list[Skip]]:
    pythons, skips = [], []
    for environment in environments:
        found = find_python(environment.python)
        if found is None:
            wanted = environment.python
            reason = f"no Python {wanted} runs here: neither python{wanted} on PATH nor one that pyenv keeps"
            skips.append(Skip(environment.bindings, reason))
            continue
        with step(f"{environment.name} is installed for Python {environment.python}"):
            pythons.append((environment, ready(environment, found)))
    return pythons, skips


@contextmanager
def _served(through: Callable[[], AbstractContextManager[Stage]]) -> Iterator[dict[str, object]]:
    with through() as served, cues(served) as url:
        names = {"key": stage.KEY, "model": stage.SERVED_NAME, "adapter": stage.ADAPTER_NAME}
        yield {"url": served.url, "cues": url, **names}


def _checked(environment: Environment, python: Path, told: dict[str, object], select: str) -> list[Check]:
    with tempfile.NamedTemporaryFile("r", prefix="clients-", suffix=".jsonl") as report:
        variables = {
            "PYTHONPATH": str(ROOT),
            "RERANKER_CLIENTS": json.dumps({"stage": told, "bindings": environment.bindings}),
            "RERANKER_CLIENTS_REPORT": report.name,
        }
        command: list[str | Path] = [
            python,
            "-m",
            "pytest",
            f"--config-file={TESTS / 'pytest.ini'}",
            "-q",
            "-k",
            select,
            TESTS,
        ]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **_QUIET, **variables}, check=False)
        if done.returncode not in (0, 1):  # 1: a check failed, which the report says
            raise StepError(f"the checks of {environment.name} weren't all run: pytest ended with {done.returncode}")
        return [Check.parse(line) for line in report]


if __name__ == "__main__":
    sys.exit(main())
