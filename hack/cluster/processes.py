"""Long-running processes: started apart from their parent, recorded, found again and ended.

A record holds the process's start time and the machine's boot id besides its pid, so a pid that was reused by
something else is never taken for ours, and never killed.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.error import URLError

from .progress import StepError, tail

POLL_S = 0.05
TERM_GRACE_S = 3.0  # an API server with open watches would take a minute


@dataclass(frozen=True)
class Process:
    """What to run, and the address that answers once it is ready: https://…, http://… or unix:///…"""

    name: str
    argv: Sequence[str]
    ready: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Identity:
    """One process of this boot, told apart from any later one with the same pid."""

    pid: int
    started: str  # clock ticks since boot, as /proc gives them
    boot: str

    @property
    def alive(self) -> bool:
        """Return whether this very process still runs."""
        return identity_of(self.pid) == self


class ProcessTable:
    """The processes of one cluster: a record and a log for each."""

    def __init__(self, records: Path, logs: Path) -> None:
        self._records = records
        self._logs = logs

    def names(self) -> list[str]:
        """Return the processes that were started and not stopped since, alive or not."""
        return sorted(record.stem for record in self._records.glob("*.json"))

    def log(self, name: str) -> Path:
        """Return where a process's output goes."""
        return self._logs / f"{name}.log"

    def pid(self, name: str) -> int | None:
        """Return the pid of a process that runs, else None."""
        record = self._records / f"{name}.json"
        if not record.exists():
            return None
        identity = Identity(**json.loads(record.read_text()))
        return identity.pid if identity.alive else None

    def start(self, process: Process) -> bool:
        """Start a process unless it runs; return whether it was started now."""
        if self.pid(process.name) is not None:
            return False
        self._records.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(process.name).open("a") as output:
            child = subprocess.Popen(
                process.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **process.env},
                cwd="/",
                start_new_session=True,
            )
        child.returncode = 0  # it outlives this program, which is not going to wait for it
        identity = identity_of(child.pid)
        if identity is None:
            raise StepError(f"{process.name} ended at once; {self._log_end(process.name)}")
        (self._records / f"{process.name}.json").write_text(json.dumps(asdict(identity)))
        return True

    def wait_ready(self, process: Process, tls: ssl.SSLContext, timeout_s: float) -> None:
        """Wait until a process answers; raise StepError when it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not is_ready(process.ready, tls):
            if self.pid(process.name) is None:
                raise StepError(f"{process.name} ended before it was ready; {self._log_end(process.name)}")
            if time.monotonic() > deadline:
                raise StepError(f"{process.name} was not ready in {timeout_s:.0f}s; {self._log_end(process.name)}")
            time.sleep(POLL_S)

    def stop(self, name: str) -> None:
        """End a process, gently first, and forget it."""
        pid = self.pid(name)
        if pid is not None:
            end([pid])
        (self._records / f"{name}.json").unlink(missing_ok=True)

    def _log_end(self, name: str) -> str:
        return f"its log is {self.log(name)}, which ends:\n{tail(self.log(name))}"


def identity_of(pid: int) -> Identity | None:
    """Return a living process's identity; None for one that is gone or a zombie.

    A first thread that has ended is a zombie before the others of its process have ended too: until then the process
    holds its files and ports.
    """
    try:
        # The fields after the command, which may itself hold spaces and brackets.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, threads = fields[0], int(fields[17])
    if state in {"Z", "X"} and threads <= 1:
        return None
    return Identity(pid, started=fields[19], boot=Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def end(pids: Iterable[int], *, grace_s: float = TERM_GRACE_S) -> None:
    """Send SIGTERM, then SIGKILL to those that are still there after the grace time."""
    remaining = {pid: identity for pid in pids if (identity := identity_of(pid))}
    for sent in (signal.SIGTERM, signal.SIGKILL):
        send(sent, remaining)
        deadline = time.monotonic() + grace_s
        while remaining and time.monotonic() < deadline:
            remaining = {pid: identity for pid, identity in remaining.items() if identity.alive}
            time.sleep(POLL_S if remaining else 0)
        if not remaining:
            return


def send(sent: signal.Signals, pids: Iterable[int]) -> None:
    """Signal processes; one that has just ended is no error."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, sent)


def get(address: str, tls: ssl.SSLContext) -> bytes | None:
    """Return the body of a 200 answer, else None."""
    try:
        with urllib.request.urlopen(address, timeout=2, context=tls if address.startswith("https") else None) as reply:
            return bytes(reply.read()) if reply.status == 200 else None
    except (URLError, OSError):
        return None


def is_ready(address: str, tls: ssl.SSLContext) -> bool:
    """Return whether a health address answers 200, or a Unix socket accepts."""
    if address.startswith("unix://"):
        return accepts(Path(address.removeprefix("unix://")))
    return get(address, tls) is not None


def accepts(path: Path) -> bool:
    """Return whether something listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def client_context(authority: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS context of a client that trusts only the cluster's authority."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(certificate, key)
    return context
