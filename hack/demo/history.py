"""The tables that tell the demo's history. No I/O."""

from collections.abc import Callable, Iterable, Sequence

from hack.stage.history import Request, milliseconds, percentile


def answered_by(request: Request) -> tuple[str, str]:
    """Return the revision and the adapter that answered, as a table shows them."""
    return (request.revision or "(no answer)", request.adapter or "-")


def phase_of(request: Request) -> tuple[str]:
    """Return the phase of the demo that a request was sent in."""
    return (request.phase,)


def table(requests: Iterable[Request], names: Sequence[str], group: Callable[[Request], Sequence[str]]) -> str:
    """Return a table of the groups in the order in which they first occur: requests, failed, latencies of answers."""
    groups: dict[tuple[str, ...], list[Request]] = {}
    for request in requests:
        groups.setdefault(tuple(group(request)), []).append(request)
    rows = [[*names, "requests", "failed", "p50", "p99"]]
    for key, members in groups.items():
        latencies = [request.latency_s for request in members if not request.failed]
        failed = sum(request.failed for request in members)
        median, slow = (milliseconds(percentile(latencies, share)) for share in (0.5, 0.99))
        rows.append([*key, str(len(members)), str(failed), median, slow])
    return aligned(rows, left=len(names))


def aligned(rows: Sequence[Sequence[str]], left: int) -> str:
    """Return rows as lines with aligned columns, the first `left` of them to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(f"  {line.rstrip()}" for line in lines)


def failures(requests: Iterable[Request], most: int = 5) -> list[str]:
    """Return the first errors as lines, with the phase that they happened in."""
    return [f"{request.phase}: {request.error}" for request in requests if request.failed][:most]


def closing_line(requests: Sequence[Request], adapter_load_s: float, model_swap_s: float) -> str:
    """Return the demo's last line."""
    failed = sum(request.failed for request in requests)
    return (
        f"demo: {len(requests)} requests, {failed} failed, "
        f"adapter load {adapter_load_s:.1f} s, model swap {model_swap_s:.1f} s"
    )
