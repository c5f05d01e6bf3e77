"""Asks Prometheus' own code, built from the Go module proxy: what expressions read, and whether rules hold."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.cluster import golang

MODULE = "github.com/prometheus/prometheus"
VERSION = "0.316.0"  # Prometheus 3.16

#: Without the plugins that find targets in clouds: they bring the clouds' SDKs, and rules have no targets.
PROMTOOL = golang.GoProgram("promtool", MODULE, VERSION, "./cmd/promtool", tags=("remove_all_sd",))
READS = golang.GoProgram(
    "promql-reads", MODULE, VERSION, "./promql-reads", main=Path(__file__).with_name("reads") / "main.go"
)


@dataclass(frozen=True)
class Matcher:
    """One condition of a selector, such as code=~"5.."."""

    label: str
    op: str
    value: str


@dataclass(frozen=True)
class Series:
    """What a selector reads, and every label that the expression needs it to have."""

    metric: str
    labels: frozenset[str]
    matchers: tuple[Matcher, ...]


def reads(expressions: Sequence[str]) -> list[list[Series]]:
    """Return the series of each expression; ValueError where one can't be parsed."""
    done = subprocess.run(
        [golang.build(READS)], input=json.dumps(expressions), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return [[_series(each) for each in found or ()] for found in json.loads(done.stdout)]


def _series(told: dict[str, object]) -> Series:
    matchers = told["matchers"] or ()
    labels = told["labels"] or ()
    assert isinstance(matchers, Sequence)
    assert isinstance(labels, Sequence)
    return Series(str(told["metric"]), frozenset(labels), tuple(Matcher(**each) for each in matchers))


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run([golang.build(PROMTOOL), *arguments], capture_output=True, text=True, check=False)
