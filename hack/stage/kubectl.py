"""kubectl with its commands' output, and objects in and out."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hack.cluster.progress import output_of
from hack.stage.objects import Object


@dataclass(frozen=True)
class Pod:
    """What is looked at in a worker pod."""

    name: str
    uid: str
    address: str


@dataclass(frozen=True)
class Kubectl:
    """kubectl for a namespace of one cluster; without a kubeconfig the current context is used."""

    program: Path
    kubeconfig: Path | None
    namespace: str

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment that leads kubectl and helm to the cluster."""
        return dict(os.environ) | ({"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {})

    def __call__(self, *arguments: str, text: str = "") -> str:
        """Run a command in the namespace and return what it prints."""
        what = f"kubectl {' '.join(arguments[:3])}"
        return output_of(what, self.argv(*arguments), env=self.environment, text=text)

    def get(self, *arguments: str) -> Any:
        """Return an object or a list of them."""
        return json.loads(self("get", *arguments, "--output=json"))

    def apply(self, *objects: Object) -> list[Any]:
        """Apply objects in order, also several wishes for one, and return them as the API server has them."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        applied = json.loads(self("apply", "--filename=-", "--output=json", text=json.dumps(items)))
        return list(applied["items"]) if applied["kind"] == "List" else [applied]

    def patch(self, resource: str, patch: Object) -> None:
        """Merge a patch into an object."""
        self("patch", resource, "--type=merge", f"--patch={json.dumps(patch)}")

    def wait(self, condition: str, resource: str, timeout_s: int) -> None:
        """Wait until a condition holds for the object's newest generation."""
        self("wait", f"--for=condition={condition}", resource, f"--timeout={timeout_s}s")

    def remove(self, *resources: str) -> None:
        """Delete objects and wait until they are gone; ones that aren't there are fine."""
        self("delete", "--ignore-not-found", "--wait", *resources)

    def pods(self, model: str, *, draining: bool = False) -> list[Pod]:
        """Return a model's worker pods, with `draining` those that are being deleted, too."""
        found = self.get("pods", f"--selector=reranker.dev/model={model}")["items"]
        return [
            Pod(item["metadata"]["name"], item["metadata"]["uid"], item["status"].get("podIP", ""))
            for item in found
            if draining or "deletionTimestamp" not in item["metadata"]
        ]

    @contextlib.contextmanager
    def running(self, *arguments: str, log: Path) -> "Iterator[subprocess.Popen[str]]":
        """Run a command for a block, which holds its input and output; its errors go to a log."""
        pipe = subprocess.PIPE
        with (
            log.open("w") as errors,
            subprocess.Popen(
                self.argv(*arguments), env=self.environment, text=True, stdin=pipe, stdout=pipe, stderr=errors
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.terminate()

    def attempt(self, *arguments: str) -> str:
        """Return what a command prints, be it an error; for looking at what went wrong."""
        result = subprocess.run(
            self.argv(*arguments), env=self.environment, capture_output=True, text=True, check=False
        )
        return result.stdout + result.stderr

    def argv(self, *arguments: str) -> list[str]:
        """Return a command line; an argument that names another namespace wins."""
        return [str(self.program), f"--namespace={self.namespace}", *arguments]
