"""Says where a worker's start goes: from the process's first instruction to the first score over HTTP.

Each phase in seconds of the clock and of the processors, medians of several starts with everything in the page cache;
then what the imports cost, by package. Run it as a module: python -m bench.startup MODEL_FOLDER
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hack.ports import free_port

_IMPORTS = "import reranker_worker.__main__, reranker_worker.lifecycle"
_IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +([\w.]+)")
_PHASES = ("model load starts", "model loaded", "first score")


@dataclass(frozen=True)
class Moment:
    """A phase's end, counted from the process's start."""

    clock_s: float
    processor_s: float


def main() -> None:
    """Print both accounts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--starts", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        started(options.model, Path(cache))  # fills the artifact cache and the page cache
        starts = [started(options.model, Path(cache)) for _ in range(options.starts)]
    print(f"{'until':20} {'clock':>8} {'processors':>11}")
    for phase in _PHASES:
        clock, processors = (
            statistics.median(getattr(start[phase], kind) for start in starts) for kind in ("clock_s", "processor_s")
        )
        print(f"{phase:20} {clock:6.2f} s {processors:9.2f} s")
    print("\nimports, by package, collections deferred")
    for package, seconds in import_costs().most_common(10):
        print(f"{package:20} {seconds:6.2f} s")


def started(model: Path, cache: Path) -> dict[str, Moment]:
    """Start a worker until it scores; return when each phase ended."""
    port = free_port()
    began = time.perf_counter()
    entry = "from reranker_worker.entry import main; main()"
    command = [sys.executable, "-c", entry, "serve", f"--model={model}", f"--cache={cache}"]
    flags = [f"--port={port}", "--internal-port=0", "--host=127.0.0.1", "--log-format=json"]
    moments: dict[str, Moment] = {}
    with subprocess.Popen([*command, *flags], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line)["event"]
            if event in _PHASES:
                moments[event] = Moment(time.perf_counter() - began, _processor_s(process.pid))
            if event == "serving":
                break
        _score(port)
        moments["first score"] = Moment(time.perf_counter() - began, _processor_s(process.pid))
        process.kill()
    return moments


def import_costs() -> Counter[str]:
    """Return the seconds that each package's own modules take to import."""
    code = f"import gc; gc.disable()\n{_IMPORTS}"
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True
    )
    costs: Counter[str] = Counter()
    for own_us, name in _IMPORT_LINE.findall(report.stderr):
        costs[name.partition(".")[0]] += int(own_us)
    return Counter({package: micros / 1e6 for package, micros in costs.items()})


def _score(port: int) -> None:
    body = json.dumps({"query": "a small editor", "documents": ["vi", "emacs"]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/rerank", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:  # the port is open once the model serves
        json.load(response)


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
