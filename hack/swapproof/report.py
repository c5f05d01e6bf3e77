"""What a run says at its end: the report, its lines, the picture, and the part of the docs that a run writes."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hack.repository import ROOT
from hack.swapproof import timeline
from hack.swapproof.checks import INVARIANTS, Verdict, verdict
from hack.swapproof.cost import costs, markdown
from hack.swapproof.record import Record, read

PAGE = ROOT / "docs" / "swap-proof.md"
PICTURE = ROOT / "docs" / "images" / "swaps.svg"
BEGIN, END = "<!-- written by make swap-proof: begin -->", "<!-- written by make swap-proof: end -->"
MOST_TOLD = 10


def judge(folder: Path) -> tuple[Record, Verdict]:
    """Judge a run by its files, and write the report and the picture beside them."""
    record = read(folder)
    found = verdict(record)
    (folder / "report.json").write_text(json.dumps(report(record, found), indent=1) + "\n")
    (folder / "timeline.svg").write_text(timeline.svg(record, title(record)))
    return record, found


def report(record: Record, found: Verdict) -> dict[str, Any]:
    """Return all that was found."""
    broken = Counter(violation.invariant for violation in found.violations)
    return {
        "seed": record.facts.seed,
        "holds": found.holds,
        "swaps": found.swaps,
        "requests": found.requests,
        "failed": found.failed,
        "wrong": found.wrong,
        "invariants": {
            name: {
                "says": told,
                "judged on": {one.of: one.count for one in found.evidence if one.invariant == name},
                "violations": broken[name],
            }
            for name, told in INVARIANTS.items()
        },
        "violations": [asdict(violation) for violation in found.violations],
        "moves": dict(Counter(step.kind for step in record.steps)),
        "disturbances": dict(Counter(step.disturbance for step in record.steps if step.disturbance)),
        "costs": [asdict(cost) for cost in costs([record])],
    }


def title(record: Record) -> str:
    """Return the picture's title."""
    swaps = sum(step.is_swap for step in record.steps)
    minutes = (record.requests[-1].done - record.requests[0].sent) / 60
    failed = sum(request.failed for request in record.requests)
    return f"{swaps} swaps in {minutes:.0f} minutes, {len(record.requests)} requests, {failed} failed"


def lines(found: Verdict) -> list[str]:
    """Return what to print of a run, the closing line last."""
    told = [f"  {v.invariant} ({INVARIANTS[v.invariant]}): {v.told}" for v in found.violations[:MOST_TOLD]]
    if len(found.violations) > MOST_TOLD:
        told.append(f"  … and {len(found.violations) - MOST_TOLD} more in report.json")
    told += [f"  {one.invariant} ({INVARIANTS[one.invariant]}) is not proven: no {one.of}" for one in found.unproven]
    if found.short_of:
        told.append(f"  {found.short_of} swaps fewer than were asked for")
    return [*told, found.closing_line]


def publish(runs: Sequence[tuple[Record, Verdict]]) -> None:
    """Write the figures of some runs into the docs, and the first one's picture."""
    text = PAGE.read_text()
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    PAGE.write_text(f"{head}{BEGIN}\n{figures(runs)}\n{END}{tail}")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(timeline.svg(runs[0][0], title(runs[0][0])))


def figures(runs: Sequence[tuple[Record, Verdict]]) -> str:
    """Return the docs' tables: the runs, then what a swap costs."""
    rows = ["| seed | swaps | refused | disturbed | requests | failed | wrong |", "|---|---|---|---|---|---|---|"]
    for record, found in runs:
        refused = sum(not step.is_swap for step in record.steps)
        disturbed = sum(bool(step.disturbance) for step in record.steps)
        cells = (record.facts.seed, found.swaps, refused, disturbed, found.requests, found.failed, found.wrong)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*rows, "", markdown(costs([record for record, _ in runs]))])
