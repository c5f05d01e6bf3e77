"""kubectl as a function: what the tests on the real node do to the cluster and read from it."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")
Object = dict[str, Any]


class CommandFailed(AssertionError):
    """A command that a test relies on exited non-zero."""


@dataclass(frozen=True)
class Kube:
    """One cluster, seen through kubectl with its kubeconfig; `namespace` is where a test's objects go."""

    kubeconfig: Path
    namespace: str

    def __call__(self, *args: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl in the namespace and return what it prints; `CommandFailed` carries its error."""
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *args]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300, check=False)
        if check and done.returncode != 0:
            raise CommandFailed(f"{' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def refusal(self, manifest: Object) -> str:
        """Apply what must be refused and return the API server's message."""
        try:
            self.apply(manifest)
        except CommandFailed as refused:
            return str(refused)
        raise AssertionError(f"accepted: {manifest}")

    def apply(self, *manifests: Object) -> None:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        self("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=json.dumps(listed))

    def get(self, kind: str, name: str) -> Object:
        found: Object = json.loads(self("get", kind, name, "-o", "json"))
        return found

    def items(self, kind: str, selector: str = "") -> list[Object]:
        found: list[Object] = json.loads(self("get", kind, "-l", selector, "-o", "json"))["items"]
        return found

    def patch(self, kind: str, name: str, change: Object) -> None:
        self("patch", kind, name, "--type=merge", "-p", json.dumps(change))

    def wait_ready(self, model: str, timeout_s: int = 180) -> None:
        """Wait as a user would; on time-out say what the model and its pods look like."""
        try:
            self("wait", f"rerankermodel/{model}", "--for=condition=Ready", f"--timeout={timeout_s}s")
        except CommandFailed as failed:
            seen = self("get", "rerankermodel,pods", "-o", "wide") + self("describe", "rerankermodel", model)
            raise CommandFailed(f"{failed}\n{seen}") from failed


def eventually(see: Callable[[], T | Literal[False] | None], *, timeout_s: float = 120, what: str = "") -> T:
    """Return the first true value of `see`, polled; fail with what was seen last."""
    end = time.monotonic() + timeout_s
    while not (seen := see()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout_s} s: {what or see}; last seen: {seen!r}")
        time.sleep(0.25)
    return seen


def condition(model: Object, kind: str) -> Object:
    """The condition of that type, or an empty one."""
    found = [c for c in model.get("status", {}).get("conditions", []) if c["type"] == kind]
    return found[0] if found else {"status": "Unknown", "reason": "", "message": ""}


def stated(model: Object, kind: str) -> Object | None:
    """The condition of that type where it is True."""
    found = condition(model, kind)
    return found if found["status"] == "True" else None
