"""Starts a system's server, pauses it while others are measured, and ends it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.systems import HEADERS, Start, System
from bench.workloads import Question

_LONGEST_START_S = 600.0


class NotServing(Exception):
    """A system's server doesn't come up, or doesn't answer as it should; the message says how."""


@dataclass
class Server:
    """A running server; it uses no processor while it is paused."""

    system: System
    url: str
    process: subprocess.Popen[bytes]
    start_s: float = 0.0

    def pause(self) -> None:
        """Stop all of its processes where they are."""
        for pid in _session(self.process.pid):
            os.kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        for pid in _session(self.process.pid):
            os.kill(pid, signal.SIGCONT)

    def peak_mb(self) -> float:
        """Return the sum of its processes' largest resident sets: they are those of its session."""
        return sum(_peak_kb(pid) for pid in _session(self.process.pid)) / 1024


@contextmanager
def serving(system: System, start: Start, question: Question, log: Path) -> Iterator[Server]:
    """Run a server that has answered; `start_s` is from the process's start to its first score."""
    began = time.perf_counter()
    environment = os.environ | {"HF_HUB_OFFLINE": "1"} | dict(system.environment)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in system.command(start)],
            stdout=output,
            stderr=output,
            env=environment,
            start_new_session=True,
        )
    server = Server(system, f"http://127.0.0.1:{start.port}{system.dialect.path}", process)
    try:
        _await_first_score(server, question, log, began + _LONGEST_START_S)
        server.start_s = time.perf_counter() - began
        yield server
    finally:
        for pid in _session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()


def _await_first_score(server: Server, question: Question, log: Path, deadline_s: float) -> None:
    status = 0
    while time.perf_counter() < deadline_s:
        if server.process.poll() is not None:
            raise NotServing(f"it ended with code {server.process.returncode}: {_last_line(log)}")
        try:
            status = httpx.post(
                server.url, json=server.system.dialect.body(question), headers=HEADERS, timeout=60
            ).status_code
        except httpx.TransportError:
            time.sleep(0.02)
            continue
        if status == 200:
            return
        time.sleep(0.02)
    raise NotServing(f"it didn't score within {_LONGEST_START_S:.0f} s (last status {status}): {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "no output")


def _session(leader: int) -> list[int]:
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if _session_of(pid) == leader]


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:  # it has ended since the folder was read
        return -1


def _peak_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
