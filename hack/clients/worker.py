"""A worker as it runs in a pod, as two processes here: what it serves stands in a manifest file that is rewritten."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hack.cluster.progress import StepError, tail
from hack.ports import free_ports

TEMPLATE = "t-clients"
_START_S = 180
_POLL_S = 0.05


@dataclass
class Worker:
    """A fetcher and a server on ports of their own, on loopback alone."""

    folder: Path
    port: int
    internal_port: int
    generation: int = 0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Return where clients find it."""
        return f"http://127.0.0.1:{self.port}"

    def tell(self, manifest: dict[str, Any]) -> None:
        """Write the next generation of the manifest, whole."""
        self.generation += 1
        path = self.folder / "manifest.json"
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps({"generation": self.generation, **manifest}))
        draft.replace(path)

    def wait(self, what: str, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until /state fulfils a condition."""
        deadline = time.monotonic() + _START_S
        while not condition(state := state_at(self._internal)):
            if time.monotonic() > deadline or any(process.poll() is not None for process in self.processes):
                raise StepError(f"not so: {what}; the worker's state is {state}\n{tail(self.folder / 'serve.log')}")
            time.sleep(_POLL_S)

    def metric(self, line: str) -> float:
        """Return a sample of its metrics."""
        return sample(self._internal, line)

    @property
    def _internal(self) -> str:
        return f"http://127.0.0.1:{self.internal_port}"


def sample(url: str, line: str) -> float:
    """Return a sample of /metrics by the text before its value, 0 while it hasn't been counted."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        samples = (text.rpartition(" ") for text in answer.read().decode().splitlines())
    return next((float(value) for name, _, value in samples if name == line), 0.0)


def state_at(url: str) -> dict[str, Any]:
    """Return a worker's /state, or {} while its port isn't open yet."""
    try:
        with urllib.request.urlopen(f"{url}/state", timeout=10) as answer:
            state: dict[str, Any] = json.load(answer)
    except urllib.error.URLError:
        return {}
    return state


@contextmanager
def running(folder: Path, claims: Path, flags: Sequence[str] = ()) -> Iterator[Worker]:
    """Run a worker whose artifacts lie under `claims`; it has no manifest yet."""
    folder.mkdir(parents=True)
    port, internal_port = free_ports(2)
    worker = Worker(folder, port, internal_port)
    places = [
        f"--template={TEMPLATE}",
        "--log-format=json",
        f"--configmap-manifest={folder / 'manifest.json'}",
        f"--podinfo-manifest={folder / 'none'}",
        f"--cache={folder / 'cache'}",
        f"--run={folder / 'run'}",
        f"--claims={claims}",
    ]
    ports = [f"--port={worker.port}", f"--internal-port={worker.internal_port}", "--host=127.0.0.1"]
    try:
        worker.processes.append(_started("fetch", places, folder))
        worker.processes.append(_started("serve", [*places, *ports, "--drain-delay-s=0", *flags], folder))
        yield worker
    finally:
        for process in worker.processes:
            process.kill()
            process.wait()


def _started(command: str, flags: Sequence[str], folder: Path) -> "subprocess.Popen[bytes]":
    with (folder / f"{command}.log").open("wb") as log:
        argv = [sys.executable, "-m", "reranker_worker", command, *flags]
        return subprocess.Popen(argv, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
