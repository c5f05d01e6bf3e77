"""The report: every check of every client as data, the table in the docs, and the closing line. No I/O."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

BEHAVIOURS = ("ranking", "adapter", "listing", "bad request", "unknown model", "overload", "cold start", "swap")
BEGIN, END = "<!-- clients: begin -->", "<!-- clients: end -->"
_NOT_MET = "-"


@dataclass(frozen=True)
class Check:
    """One client under one behaviour: what its users saw, and whether it was what they should."""

    client: str
    behaviour: str
    seen: str
    passed: bool

    @classmethod
    def parse(cls, line: str) -> "Check":
        """Read a line of the report; a test that failed before it said what it looks at is known by its name."""
        row = json.loads(line)
        client, behaviour = row.get("client", row["test"]), row.get("behaviour", "")
        return cls(client, behaviour, row.get("seen", ""), row["outcome"] == "passed")


@dataclass(frozen=True)
class Skip:
    """Clients that couldn't be run, and why."""

    bindings: Sequence[str]
    reason: str


def table(checks: Iterable[Check]) -> str:
    """Return a row for each client and a column for each behaviour, in Markdown."""
    rows: dict[str, dict[str, str]] = {}
    for check in checks:
        rows.setdefault(check.client, {})[check.behaviour] = _cell(check)
    head = ["client", *BEHAVIOURS]
    lines = [head, ["---"] * len(head)]
    lines += [
        [client, *(cells.get(name, _NOT_MET) for name in BEHAVIOURS)]
        for client, cells in sorted(rows.items(), key=_by_package)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_table(page: str, written: str) -> str:
    """Return a page with what stands between its markers replaced; raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table: {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{written}\n{END}{after}"


def closing_line(checks: Sequence[Check], skips: Sequence[Skip]) -> str:
    """Return the last line of `make clients`."""
    failed = sum(not check.passed for check in checks)
    skipped = sum(len(skip.bindings) for skip in skips)
    return f"clients: {len(checks)} checks, {failed} failed, {skipped} skipped"


def _by_package(row: tuple[str, object]) -> tuple[str, str]:
    name, _, package = row[0].rpartition(", ")
    return package, name


def _cell(check: Check) -> str:
    if not check.passed:
        return "**failed**"
    return check.seen if check.seen == "waits" or check.seen[:1].isupper() else "✓"
