"""The picture of a run: requests a second by revision, latency, failures, and the swaps as shaded bands. No I/O."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from hack.stage.history import Request, percentile
from hack.swapproof.cost import ADAPTER_ALONE, way
from hack.swapproof.record import Record, Step
from hack.swapproof.wanted import BLUE_GREEN, IN_PLACE, ROLL

WIDTH, LEFT, RIGHT = 1200, 56, 16
TOP, PANEL, GAP = 64, 150, 34
HEIGHT = TOP + 2 * PANEL + GAP + 44
SHADES = {ROLL: "#e9ecef", BLUE_GREEN: "#d0ebff", IN_PLACE: "#fff3bf", ADAPTER_ALONE: "#d3f9d8"}
SWAPS = {
    ROLL: "swapped by a roll",
    BLUE_GREEN: "swapped by a second fleet",
    IN_PLACE: "swapped in place",
    ADAPTER_ALONE: "adapter edited",
}
OTHER_SHADE = "#e5dbff"
REFUSED_SHADE = "#ffe3e3"
COLOURS = ("#1c7ed6", "#e8590c", "#7048e8", "#2b8a3e", "#c2255c")
FAILURE = "#e03131"
INK, FAINT = "#343a40", "#adb5bd"


@dataclass(frozen=True)
class Axis:
    """A range of values on a range of the picture."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return where a value is drawn, within the range."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def svg(record: Record, title: str) -> str:
    """Return the picture of a run."""
    origin = min(request.sent for request in record.requests)
    span = max(max(request.done for request in record.requests) - origin, 1.0)
    seconds = Axis(0.0, span, LEFT, WIDTH - RIGHT)
    parts = [
        *_bands(record.steps, origin, seconds),
        *_rates(record.requests, record.facts.models, origin, seconds),
        *_latencies(record.requests, origin, seconds),
        *_failures(record.requests, origin, seconds),
        *_minutes(span, seconds),
        *_legend(record, title),
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>', *parts, "</svg>", ""])


def _bands(steps: Sequence[Step], origin: float, seconds: Axis) -> Iterator[str]:
    for step in steps:
        start, end = seconds.at(step.began - origin), seconds.at(step.ready - origin)
        told = escape(f"{step.number}: {step.kind}{', ' if step.disturbance else ''}{step.disturbance}")
        box = f'x="{start}" y="{TOP}" width="{max(round(end - start, 1), 0.8)}" height="{2 * PANEL + GAP}"'
        yield f'<rect {box} fill="{_shade(step)}"><title>{told}</title></rect>'


def _shade(step: Step) -> str:
    return SHADES.get(way(step), OTHER_SHADE) if step.is_swap else REFUSED_SHADE


def _rates(requests: Sequence[Request], models: Mapping[str, str], origin: float, seconds: Axis) -> Iterator[str]:
    """Answers a second, stacked by model."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for request in requests:
        if not request.failed:
            counts[models.get(request.revision, request.revision)][int(request.sent - origin)] += 1
    total = Counter[int]()
    for counter in counts.values():
        total.update(counter)
    axis = Axis(0.0, max(total.values(), default=1) * 1.1, TOP + PANEL, TOP)
    yield from _ticks([0, *_round_marks(axis.high)], axis, "answers a second, by model", str)
    below: Counter[int] = Counter()
    for name, colour in _colours(counts).items():
        bars = "".join(_bars(counts[name], below, seconds, axis))
        yield f'<path d="{bars}" fill="{colour}" fill-opacity="0.75"/>'
        below.update(counts[name])


def _round_marks(high: float) -> list[int]:
    step = next(size for size in (1, 2, 5, 10, 20, 50, 100, 1000, 10_000) if high / size <= 5)
    return list(range(step, int(high) + 1, step))


def _colours(names: Mapping[str, object]) -> dict[str, str]:
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(sorted(names))}


def _bars(counts: Counter[int], below: Counter[int], seconds: Axis, axis: Axis) -> Iterator[str]:
    for second, count in sorted(counts.items()):
        low, high = axis.at(below[second]), axis.at(below[second] + count)
        yield f"M{seconds.at(second)} {low}V{high}H{seconds.at(second + 1)}V{low}Z"


def _latencies(requests: Sequence[Request], origin: float, seconds: Axis) -> Iterator[str]:
    """p50 and the slowest of each second, on a logarithmic scale."""
    by_second: dict[int, list[float]] = defaultdict(list)
    for request in requests:
        if not request.failed:
            by_second[int(request.sent - origin)].append(request.latency_s)
    marks = _decades([latency for latencies in by_second.values() for latency in latencies])
    top = TOP + PANEL + GAP
    axis = Axis(marks[0], marks[-1], top + PANEL, top)
    yield from _ticks(marks, axis, "latency: median and slowest of each second", _seconds)
    for share, colour in ((1.0, FAINT), (0.5, INK)):
        points = " ".join(
            f"{seconds.at(second + 0.5)},{axis.at(math.log10(percentile(values, share)))}"
            for second, values in sorted(by_second.items())
        )
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1"/>'


def _decades(latencies: Sequence[float]) -> list[int]:
    """Return the powers of ten around some latencies, in seconds; those of 1 ms to 1 s around none."""
    low, high = (min(latencies), max(latencies)) if latencies else (0.001, 1.0)
    first = math.floor(math.log10(low))
    return list(range(first, max(math.ceil(math.log10(high)), first + 1) + 1))


def _seconds(power: float) -> str:
    return f"{10**power:g} s" if power >= 0 else f"{10 ** (power + 3):g} ms"


def _failures(requests: Sequence[Request], origin: float, seconds: Axis) -> Iterator[str]:
    for request in requests:
        if request.failed:
            x = seconds.at(request.sent - origin)
            told = escape(request.error[:100])
            line = f'x1="{x}" x2="{x}" y1="{TOP}" y2="{TOP + 2 * PANEL + GAP}"'
            yield f'<line {line} stroke="{FAILURE}" stroke-width="1.5"><title>{told}</title></line>'


def _ticks(marks: Sequence[float], axis: Axis, title: str, shown: Callable[[float], str]) -> Iterator[str]:
    for mark in marks:
        y = axis.at(mark)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}" stroke="{FAINT}" stroke-width="0.4"/>'
        yield _text(LEFT - 6, y + 4, shown(mark), anchor="end")
    yield _text(LEFT, axis.end - 6, title)


def _minutes(span: float, seconds: Axis) -> Iterator[str]:
    bottom = TOP + 2 * PANEL + GAP
    step = next(size for size in (10, 30, 60, 120, 300, 600, 3600) if span / size <= 20)
    for mark in range(0, int(span) + 1, step):
        yield _text(seconds.at(mark), bottom + 16, f"{mark // 60}:{mark % 60:02}", anchor="middle")
    yield _text(WIDTH - RIGHT, bottom + 32, "minutes since the load began", anchor="end")


def _legend(record: Record, title: str) -> Iterator[str]:
    yield _text(LEFT, 20, title, size=15)
    models = {record.facts.models.get(request.revision, request.revision) for request in record.requests}
    marks = list(_colours(dict.fromkeys(models - {""})).items())
    marks += [(told, SHADES[name]) for name, told in SWAPS.items()]
    marks += [("candidate refused", REFUSED_SHADE), ("failed request", FAILURE)]
    x = float(LEFT)
    for told, colour in marks:
        yield f'<rect x="{x}" y="30" width="12" height="12" fill="{colour}" stroke="{FAINT}" stroke-width="0.5"/>'
        yield _text(x + 17, 40, told)
        x += 30 + 6.6 * len(told)


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{INK}" text-anchor="{anchor}">{escape(text)}</text>'
