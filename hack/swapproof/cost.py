"""What a swap costs: the time until the new one alone answers, and what it does to the latency. No I/O."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from hack.stage.history import Request, milliseconds, percentile
from hack.swapproof.record import Record, Step
from hack.swapproof.spans import spans

ADAPTER_ALONE = "adapter"


@dataclass(frozen=True)
class Cost:
    """One way to swap, over all its undisturbed swaps; seconds."""

    way: str
    swaps: int
    median_s: float
    longest_s: float
    requests: int
    p50_s: float
    p99_s: float  # over the requests of all swaps together
    median_swap_p99_s: float  # of the swaps' own p99s: one that another program disturbed doesn't decide
    steady_p50_s: float
    steady_p99_s: float

    @property
    def ratio(self) -> float:
        """Return p99 during swaps against p99 without one."""
        return self.p99_s / self.steady_p99_s

    @property
    def median_swap_ratio(self) -> float:
        """Return the median swap's p99 against p99 without one."""
        return self.median_swap_p99_s / self.steady_p99_s


def costs(records: Sequence[Record]) -> list[Cost]:
    """Return the cost of each way, over several runs together."""
    steady = [request.latency_s for record in records for request in _between_moves(record)]
    measured = [(record, step) for record in records for step in record.steps if _counts(step)]
    ways = sorted({way(step) for _, step in measured})
    return [_cost(name, [pair for pair in measured if way(pair[1]) == name], steady) for name in ways]


def _between_moves(record: Record) -> Iterator[Request]:
    """Yield the answers of all the time in which no move was under way: what else the machine does drifts."""
    steady = [span for span in spans(record.steps) if span.steady]
    for request in record.requests:
        if not request.failed and any(span.start <= request.sent and request.done <= span.end for span in steady):
            yield request


def way(step: Step) -> str:
    """Return the strategy by which the model was swapped, or that an adapter alone was edited."""
    return step.strategy if step.before.revision != step.after.revision else ADAPTER_ALONE


def served(record: Record, step: Step) -> float:
    """Return when what was asked for answered everything: Ready, and the last answer of what was there before."""
    return max([step.ready, *(request.done for request in _late(record, step))])


def _late(record: Record, step: Step) -> Iterator[Request]:
    for request in record.requests:
        if step.began <= request.sent <= step.ready and not request.failed and not _of(request, step):
            yield request


def _of(request: Request, step: Step) -> bool:
    return request.revision == step.after.revision and request.adapter == step.after.adapter(request.asked)


def _counts(step: Step) -> bool:
    return step.is_swap and not step.disturbance and not step.never


def _cost(name: str, swaps: Sequence[tuple[Record, Step]], steady: Sequence[float]) -> Cost:
    ends = [served(record, step) for record, step in swaps]
    lengths = [end - step.began for end, (_, step) in zip(ends, swaps, strict=True)]
    by_swap = [
        [request.latency_s for request in record.requests if step.began <= request.sent <= end and not request.failed]
        for end, (record, step) in zip(ends, swaps, strict=True)
    ]
    during = [latency_s for latencies in by_swap for latency_s in latencies]
    return Cost(
        way=name,
        swaps=len(swaps),
        median_s=median(lengths),
        longest_s=max(lengths),
        requests=len(during),
        p50_s=percentile(during, 0.5),
        p99_s=percentile(during, 0.99),
        median_swap_p99_s=median(percentile(latencies, 0.99) for latencies in by_swap),
        steady_p50_s=percentile(steady, 0.5),
        steady_p99_s=percentile(steady, 0.99),
    )


def markdown(found: Sequence[Cost]) -> str:
    """Return the costs as a table for the docs."""
    rows = [
        "| swap of | swaps | edit to fully served | longest | p50, p99 during | steady | p99 / steady | median swap's |"
    ]
    rows.append("|---|---|---|---|---|---|---|---|")
    for cost in found:
        lengths = f"{cost.median_s:.1f} s | {cost.longest_s:.1f} s"
        during, steady = _pair(cost.p50_s, cost.p99_s), _pair(cost.steady_p50_s, cost.steady_p99_s)
        ratios = f"{cost.ratio:.1f} | {cost.median_swap_ratio:.1f}"
        rows.append(f"| {_title(cost.way)} | {cost.swaps} | {lengths} | {during} | {steady} | {ratios} |")
    return "\n".join(rows)


def _pair(p50_s: float, p99_s: float) -> str:
    return f"{milliseconds(p50_s)}, {milliseconds(p99_s)}"


def _title(name: str) -> str:
    return "an adapter alone" if name == ADAPTER_ALONE else f"the model, `{name}`"
