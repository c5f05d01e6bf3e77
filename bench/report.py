"""Writes what was measured: records for machines, a table and a plot for readers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.systems import OURS, OURS_INT8

_BAR_PX, _ROW_PX, _LABEL_PX = 420, 22, 210
_COLUMNS = (
    *("system", "workload", "pairs/s", "ours / its", "p50 / p95 ms", "start s", "peak MB", "of the limit"),
    *("largest difference", "Kendall's tau"),
)
_PLOT = Path("docs/images/performance.svg")
_PAGE = Path("docs/performance.md")
_BEGIN, _END = "<!-- make bench writes from here -->", "<!-- to here -->"


@dataclass(frozen=True, slots=True)
class Record:
    """One system on one workload."""

    system: str
    model: str
    workload: str
    dtype: str
    pairs_per_s: float
    p50_ms: float
    p95_ms: float
    start_s: float
    peak_mb: float
    limit_fraction: float
    max_abs_diff: float
    kendall_tau: float


def write(records: Sequence[Record], missing: Mapping[str, str], conditions: str, folder: Path) -> None:
    """Write bench.json, bench.md and bench.svg under the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps([asdict(record) for record in records], indent=1) + "\n")
    (folder / "bench.md").write_text(table(records, missing, conditions))
    (folder / "bench.svg").write_text(plot(records))


def publish(records: Sequence[Record], missing: Mapping[str, str], conditions: str) -> None:
    """Put the table and the plot into the docs."""
    shown = f"{table(records, missing, conditions)}\n![pairs a second]({_PLOT.relative_to(_PAGE.parent)})"
    _PAGE.write_text(with_table(_PAGE.read_text(), shown))
    _PLOT.write_text(plot(records))


def with_table(page: str, new: str) -> str:
    """Return a page with another table between its two marks; raises ValueError where they are missing."""
    before, begin, rest = page.partition(f"{_BEGIN}\n")
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table: {_BEGIN} and {_END} are expected")
    return f"{before}{begin}\n{new}\n{end}{after}"


def table(records: Sequence[Record], missing: Mapping[str, str], conditions: str) -> str:
    """Return what docs/performance.md shows: under which conditions, the figures, and what is missing."""
    ours = {record.workload: record.pairs_per_s for record in records if record.system == OURS}
    lines = [
        f"{conditions}.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
    ]
    for record in sorted(records, key=lambda record: (record.workload, -record.pairs_per_s)):
        against = f"{ours[record.workload] / record.pairs_per_s:.2f}" if record.workload in ours else ""
        lines.append(
            f"| {record.system} | {record.workload} | {record.pairs_per_s:g} | {against} | "
            f"{record.p50_ms:g} / {record.p95_ms:g} | {record.start_s:g} | {record.peak_mb:g} | "
            f"{record.limit_fraction:.0%} | {record.max_abs_diff:g} | {record.kendall_tau:g} |"
        )
    if missing:
        lines += ["", "Not measured:", "", *(f"- {name}: {reason}." for name, reason in missing.items())]
    return "\n".join(lines) + "\n"


def plot(records: Sequence[Record]) -> str:
    """Return bars of pairs/s, grouped by workload, as SVG."""
    most = max((record.pairs_per_s for record in records), default=1.0)
    rows: list[str] = []
    ordered = sorted(records, key=lambda record: (record.workload, -record.pairs_per_s))
    for i, record in enumerate(ordered):
        top, width = i * _ROW_PX, _BAR_PX * record.pairs_per_s / most
        colour = "#2563eb" if record.system in {OURS, OURS_INT8} else "#9ca3af"
        rows.append(
            f'<text x="{_LABEL_PX - 8}" y="{top + 15}" text-anchor="end">{record.workload} {record.system}</text>'
            f'<rect x="{_LABEL_PX}" y="{top + 3}" width="{width:.1f}" height="{_ROW_PX - 6}" fill="{colour}"/>'
            f'<text x="{_LABEL_PX + width + 6:.1f}" y="{top + 15}">{record.pairs_per_s:g}</text>'
        )
    size = f'width="{_LABEL_PX + _BAR_PX + 70}" height="{len(ordered) * _ROW_PX + 4}"'
    style = 'font-family="sans-serif" font-size="12"'
    background = '<rect width="100%" height="100%" fill="white"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{background}' + "\n".join(rows) + "</svg>\n"
