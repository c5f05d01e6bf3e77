"""The processes of a pod, where the cluster's node is this machine."""

import signal
from collections.abc import Iterable
from pathlib import Path

from hack.cluster.processes import send


def processes_of(pod_uid: str, command: str = "") -> list[int]:
    """Return the ids of the processes in a pod's containers, or of those that have `command` as an argument."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_text().split("\0")
            groups = (folder / "cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if pod_uid in groups and (not command or command in arguments):
            found.append(int(folder.name))
    return found


def kill(processes: Iterable[int]) -> None:
    """SIGKILL processes."""
    send(signal.SIGKILL, processes)
