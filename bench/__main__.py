"""Measures this worker and its peers side by side over HTTP, interleaved; `make bench`.

Writes build/reports/bench.json, .md and .svg; a run that leaves nothing out writes the table and the plot of
docs/performance.md too. Run it as a module: python -m bench
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import torch

from bench.accuracy import Deviation, deviation, reference_logits
from bench.environments import NotInstalled, interpreter
from bench.limit import Dimensions, GemmPeak, limit_fraction
from bench.load import Round, ask
from bench.machine import fastest_dtype, machine
from bench.models import default_model, in_precision
from bench.report import Record, publish, write
from bench.servers import NotServing, Server, serving
from bench.systems import MISSING, SYSTEMS, Start, System, own_python
from bench.workloads import WORKLOADS, Question, Workload, questions, token_lengths
from hack.ports import free_port
from reranker_worker.device import cpu_flags, has_int8_units

_REPORTS = Path("build/reports")
_SYSTEMS = [system.name for system in SYSTEMS]
_WORKLOADS = [workload.name for workload in WORKLOADS]
_DOCUMENTS = 100
_JUDGED = 4
"""Requests whose scores are compared with the reference's."""


@dataclass
class Measured:
    """One system's server and what was seen of it."""

    server: Server
    deviation: Deviation
    rounds: dict[str, list[Round]] = field(default_factory=dict)


def main() -> None:
    """Measure, and write what came out."""
    options = _options()
    model = (options.model or default_model()).resolve()
    workloads = [
        replace(workload, documents=options.documents, requests=options.requests or workload.requests)
        for workload in WORKLOADS
        if workload.name in options.workloads
    ]
    conditions = _conditions(options, model, workloads)
    served = in_precision(model, options.dtype, _REPORTS.resolve() / "model")
    peak = GemmPeak(Dimensions.of(model), getattr(torch, options.dtype))
    missing = dict(MISSING)
    with ExitStack() as stack:
        measured = _started(stack, options, served, model, missing)
        for turn in range(options.rounds):
            for workload in workloads:
                for each in list(measured):
                    _measure(each, workload, turn, missing)
                    peak.measure()
        records = [
            _record(each, workload, model, options.dtype, peak)
            for each in measured
            for workload in workloads
            if each.rounds.get(workload.name)
        ]
    write(records, missing, conditions, _REPORTS)
    if _leaves_nothing_out(options):
        publish(records, missing, conditions)
    for record in records:
        print(json.dumps(asdict(record)))
    for name, reason in missing.items():
        print(f"not measured: {name}: {reason}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="a folder; by default the trained MiniLM of examples/finetune")
    fastest = fastest_dtype()
    parser.add_argument(
        "--dtype", default=fastest, choices=["float32", "bfloat16"], help=f"here {fastest} unless given"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, help="of each client in a round, instead of a workload's own")
    parser.add_argument("--documents", type=int, default=_DOCUMENTS, help="in each request")
    for flag, names in (("--systems", _SYSTEMS), ("--workloads", _WORKLOADS)):
        parser.add_argument(flag, nargs="+", default=names, choices=names)
    return parser.parse_args()


def _leaves_nothing_out(options: argparse.Namespace) -> bool:
    return (options.systems, options.workloads, options.documents) == (_SYSTEMS, _WORKLOADS, _DOCUMENTS)


def _conditions(options: argparse.Namespace, model: Path, workloads: Sequence[Workload]) -> str:
    requests = ", ".join(f"{each.requests * each.clients} ({each.name})" for each in workloads)
    rounds = f"{options.rounds} rounds of {requests} requests, {options.documents} documents each"
    return f"{machine()}. Model {model.name}, {options.dtype}, {rounds}, {datetime.now(UTC).date().isoformat()}"


def _started(
    stack: ExitStack, options: argparse.Namespace, served: Path, model: Path, missing: dict[str, str]
) -> list[Measured]:
    """Start each system alone with the files served, compare its scores with the model's own, and pause it."""
    judged = list(islice(questions(replace(WORKLOADS[0], documents=20)), _JUDGED))
    expected = reference_logits(model, judged)
    measured: list[Measured] = []
    for system in SYSTEMS:
        if system.name not in options.systems:
            missing[system.name] = "left out by --systems"
            continue
        if system.dtype == "int8" and not has_int8_units(cpu_flags()):
            missing[system.name] = "the processor has no units for int8"
            continue
        try:
            server = stack.enter_context(_server(system, options.dtype, served, judged[0]))
            measured.append(Measured(server, deviation(server, judged, expected)))
            server.pause()
        except (NotInstalled, NotServing) as error:
            missing[system.name] = str(error)
            print(f"{system.name}: {error}", file=sys.stderr)
    return measured


@contextmanager
def _server(system: System, dtype: str, model: Path, question: Question) -> Iterator[Server]:
    python = own_python() if system.requirements is None else interpreter(system.requirements, system.python)
    folder = _REPORTS / system.name
    folder.mkdir(parents=True, exist_ok=True)
    start = Start(python, model, free_port(), system.dtype or dtype, folder.resolve())
    for name, text in system.files(start).items():
        (folder / name).write_text(text)
    with serving(system, start, question, folder / "log") as server:
        yield server


def _measure(measured: Measured, workload: Workload, turn: int, missing: dict[str, str]) -> None:
    """Let one server answer a round of requests while the others are paused."""
    measured.server.resume()
    try:
        measured.rounds.setdefault(workload.name, []).append(asyncio.run(ask(measured.server, workload, turn)))
    except NotServing as error:
        measured.rounds[workload.name] = []
        missing[f"{measured.server.system.name} on {workload.name}"] = str(error)
    finally:
        measured.server.pause()


def _record(measured: Measured, workload: Workload, model: Path, dtype: str, peak: GemmPeak) -> Record:
    rounds = measured.rounds[workload.name]
    rate = statistics.median(each.pairs / each.seconds for each in rounds)
    latencies = sorted(latency for each in rounds for latency in each.latencies_ms)
    return Record(
        system=measured.server.system.name,
        model=model.name,
        workload=workload.name,
        dtype=measured.server.system.dtype or dtype,
        pairs_per_s=round(rate, 1),
        p50_ms=round(latencies[len(latencies) // 2]),
        p95_ms=round(latencies[int(0.95 * len(latencies))]),
        start_s=round(measured.server.start_s, 2),
        peak_mb=round(measured.server.peak_mb()),
        limit_fraction=round(limit_fraction(rate, token_lengths(model, workload), Dimensions.of(model), peak), 3),
        max_abs_diff=float(f"{measured.deviation.max_abs_diff:.1e}"),
        kendall_tau=round(measured.deviation.kendall_tau, 4),
    )


if __name__ == "__main__":
    main()
