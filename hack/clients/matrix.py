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


def table(checks: Iterable[Check], known: str = "") -> str:
    """Return a row for each client and a column for each behaviour, in Markdown; other rows of a known table stay."""
    cells: dict[str, dict[str, str]] = {}
    for check in checks:
        cells.setdefault(check.client, {})[check.behaviour] = _cell(check)
    rows = {line[0]: line for line in map(_parsed, known.splitlines()[2:])}
    rows |= {client: [client, *(its.get(name, _NOT_MET) for name in BEHAVIOURS)] for client, its in cells.items()}
    head = ["client", *BEHAVIOURS]
    lines = [head, ["---"] * len(head), *sorted(rows.values(), key=_by_package)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table_of(page: str) -> str:
    """Return what stands between a page's markers; raises ValueError where it has none."""
    _, written, _ = _parts(page)
    return written.strip()


def with_table(page: str, written: str) -> str:
    """Return a page with what stands between its markers replaced; raises ValueError where it has none."""
    before, _, after = _parts(page)
    return f"{before}{BEGIN}\n{written}\n{END}{after}"


def closing_line(checks: Sequence[Check], skips: Sequence[Skip]) -> str:
    """Return the last line of `make clients`."""
    failed = sum(not check.passed for check in checks)
    skipped = sum(len(skip.bindings) for skip in skips)
    return f"clients: {len(checks)} checks, {failed} failed, {skipped} skipped"


def _parts(page: str) -> tuple[str, str, str]:
    before, begin, rest = page.partition(BEGIN)
    written, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the table: {BEGIN} … {END}")
    return before, written, after


def _parsed(line: str) -> list[str]:
    return line.removeprefix("| ").removesuffix(" |").split(" | ")


def _by_package(row: Sequence[str]) -> tuple[str, str]:
    name, _, package = row[0].rpartition(", ")
    return package, name


def _cell(check: Check) -> str:
    if not check.passed:
        return "**failed**"
    return check.seen if check.seen == "waits" or check.seen[:1].isupper() else "✓"
