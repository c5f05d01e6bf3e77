"""Has a candidate score what clients asked the fleet that serves, and compares the two rankings.

Clients were answered long before; what they asked is held only until it is compared, and neither logged nor stored.
"""

import asyncio
import math
from collections.abc import Callable, Iterable

import structlog

from reranker_operator.decisions import ranking
from reranker_operator.errors import NoScores
from reranker_operator.worker_client import WorkerClient
from reranker_operator.world.trials import LiveSample, Seat, Trial

log = structlog.get_logger(__name__)

#: How often the samples are fetched: a pace, since traffic has no end to wait for.
PULL_S = 1.0
#: A worker's own words for what this one sample meets: its adapter isn't on the candidate, or it is too much just now.
PASSED_OVER = frozenset({"NotFound", "InvalidRequest", "TooLarge", "Overloaded", "DeadlineExceeded"})


async def correlations(workers: WorkerClient, trial: Trial, clock: Callable[[], float]) -> list[float]:
    """The rank correlation of each live query's scores with the candidate's, for as long as the gate asks.

    Raises NoScores where the candidate doesn't answer, or not with numbers.
    """
    found: list[float] = []
    seen = dict.fromkeys(trial.witnesses, 0)
    asked = trial.gate.shadow
    end = clock() + (asked.duration_seconds if asked is not None else 0)
    while seen and clock() < end:
        for seat in seen:
            samples = await _samples(workers, seat, seen[seat])
            seen[seat] = max((sample.number for sample in samples), default=seen[seat])
            found += await _compared(workers, trial.candidate, samples)
        await asyncio.sleep(min(PULL_S, max(0.0, end - clock())))
    return found


async def _samples(workers: WorkerClient, seat: Seat, after: int) -> list[LiveSample]:
    """What a pod has kept since; nothing where it is gone, since the others go on."""
    try:
        return await workers.samples(seat, after)
    except NoScores as error:
        log.debug("no samples from a pod", pod=seat.pod, error=str(error))
        return []


async def _compared(workers: WorkerClient, candidate: Seat, samples: Iterable[LiveSample]) -> list[float]:
    """One after the other: where the candidate shares a device with what serves, it takes no more than one turn."""
    found: list[float] = []
    for sample in samples:
        if sample.revision == candidate.revision or not all(map(math.isfinite, sample.scores)):
            continue
        try:
            answer = await workers.score(candidate, sample.query, sample.documents, sample.adapter)
        except NoScores as error:
            if error.code in PASSED_OVER:
                continue
            raise
        tau = await asyncio.to_thread(ranking.tau_b, sample.scores, answer.scores)
        if tau is not None:
            found.append(tau)
    return found
