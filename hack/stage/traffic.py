"""The load as it runs in its pod: started, told what to do, read line by line into the history file, ended."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import IO

from hack.cluster.progress import StepError, tail
from hack.stage.history import Request
from hack.stage.kubectl import Kubectl
from hack.stage.objects import LOAD, SCRIPTS_PATH

LONGEST_S = 900  # the load ends by itself after this long, should the driver be gone
WAIT_S = 60.0
PYTHON = ("exec", "--stdin", LOAD, "--", "python3", "-u", f"{SCRIPTS_PATH}/load.py")
BODIES = f"--bodies={SCRIPTS_PATH}/bodies.jsonl"


@dataclass(frozen=True)
class Seen:
    """A request and when its line arrived here, by this machine's monotonic clock."""

    at: float
    request: Request


class Traffic:
    """A running load. One thread reads its lines; `seen` only grows."""

    def __init__(self, process: "Popen[str]", history: Path, log: Path) -> None:
        self.seen: list[Seen] = []
        self._process = process
        self._log = log
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, args=(process.stdout, history), daemon=True)
        self._reader.start()

    def _read(self, lines: IO[str], history: Path) -> None:
        with history.open("w") as file:
            for line in lines:
                file.write(line)
                with self._news:
                    self.seen.append(Seen(time.monotonic(), Request.parse(line)))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def order(self, line: str) -> None:
        """Tell the load what to do from now on: `phase NAME` or `adapters [NAME…]`."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait_for(self, what: str, holds: Callable[[Sequence[Seen]], bool]) -> None:
        """Wait until something holds of the requests seen so far."""
        with self._news:
            came = self._news.wait_for(lambda: holds(self.seen) or not self._reader.is_alive(), WAIT_S)
        if not self._reader.is_alive():
            raise StepError(f"the load ended while waiting for {what}; its log is {self._log}:\n{tail(self._log)}")
        if not came:
            raise StepError(f"no {what} in {WAIT_S:.0f}s of load; its log is {self._log}:\n{tail(self._log)}")

    def more(self, count: int) -> None:
        """Wait until that many further requests are done."""
        target = len(self.seen) + count
        self.wait_for(f"{count} further requests", lambda seen: len(seen) >= target)

    def end(self) -> list[Request]:
        """End the load, let what is in flight finish, and return all requests."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join(WAIT_S)
        if self._process.wait(WAIT_S):
            raise StepError(f"the load failed; its log is {self._log}:\n{tail(self._log)}")
        return [seen.request for seen in self.seen]

    def stop(self) -> None:
        """End the load at once where it still runs, as after an error."""
        if self._process.poll() is None:
            self._process.terminate()
        self._reader.join(WAIT_S)


@contextlib.contextmanager
def traffic(
    kubectl: Kubectl, url: str, rate: float, folder: Path, *, longest_s: float = LONGEST_S
) -> Iterator[Traffic]:
    """Run the load for a block, with its history and log in a folder."""
    log = folder / "load.log"
    command = ("load", f"--url={url}", f"--rate={rate}", f"--longest={longest_s}", BODIES)
    with kubectl.running(*PYTHON, *command, log=log) as process:
        running = Traffic(process, folder / "history.jsonl", log)
        try:
            yield running
        finally:
            running.stop()


@contextlib.contextmanager
def probe(kubectl: Kubectl, pods: Sequence[str], adapter: str, folder: Path) -> Iterator[Callable[[], None]]:
    """Probe each pod (address:port) from now on; the yielded function returns once all have scored with the adapter."""
    log = folder / "probe.log"
    command = ("probe", "--pods", *pods, f"--adapter={adapter}", f"--longest={WAIT_S}", BODIES)
    with kubectl.running(*PYTHON, *command, log=log) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        if "probing" not in next(lines, ""):
            raise StepError(f"the probe did not start; its log is {log}:\n{tail(log)}")

        def wait() -> None:
            scored = len(list(lines))
            if process.wait(WAIT_S) or scored != len(pods):
                raise StepError(
                    f"adapter {adapter} was answered by {scored} of {len(pods)} pods in {WAIT_S:.0f}s; "
                    f"the probe's log is {log}:\n{tail(log)}"
                )

        yield wait
