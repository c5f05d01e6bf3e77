"""The load that a worker reports: what is asked of it, by what it can do."""

from dataclasses import dataclass

import pytest

from reranker_worker.load_meter import WINDOW_S, LoadMeter
from reranker_worker.metrics import Metrics


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def meter_after(clock: Clock, *, seconds: int, asked: int, scored: int, busy_s: float) -> LoadMeter:
    """A meter that saw the same each second."""
    meter = LoadMeter(clock)
    for _ in range(seconds):
        meter.asked(asked)
        if scored:
            meter.scored(scored, busy_s)
        clock.now_s += 1
    return meter


@pytest.mark.parametrize(
    ("asked", "scored", "busy_s", "ratio"),
    [(0, 0, 0.0, 0.0), (100, 100, 0.25, 0.25), (100, 100, 1.0, 1.0), (300, 100, 1.0, 3.0)],
    ids=["idle", "a quarter of the device", "all of it", "two of three are refused"],
)
def test_the_ratio_is_what_is_asked_by_what_can_be_scored(asked: int, scored: int, busy_s: float, ratio: float) -> None:
    clock = Clock()
    for seconds in (5, 29, 200):
        meter = meter_after(clock, seconds=seconds, asked=asked, scored=scored, busy_s=busy_s)
        assert meter.ratio() == pytest.approx(ratio, rel=0.05)


def test_a_worker_that_nobody_asks_any_more_is_idle_after_the_window() -> None:
    clock = Clock()
    meter = meter_after(clock, seconds=60, asked=100, scored=100, busy_s=0.5)
    clock.now_s += WINDOW_S / 2
    assert 0 < meter.ratio() < 0.3
    clock.now_s += WINDOW_S
    assert meter.ratio() == 0


def test_what_a_pair_takes_is_remembered_while_nothing_is_scored() -> None:
    clock = Clock()
    meter = meter_after(clock, seconds=40, asked=100, scored=100, busy_s=0.5)
    clock.now_s += 10 * WINDOW_S
    assert meter.ratio() == 0
    for _ in range(int(WINDOW_S)):
        meter.asked(100)  # all of them refused
        clock.now_s += 1
    assert meter.ratio() == pytest.approx(0.5, rel=0.05)


def test_before_the_first_batch_nothing_is_known_of_the_load() -> None:
    meter = LoadMeter(Clock())
    meter.asked(1000)
    assert meter.ratio() == 0


def test_the_ratio_is_among_the_metrics() -> None:
    metrics = Metrics()
    metrics.load.asked(10)
    metrics.load.scored(10, 0.5)
    assert metrics.registry.get_sample_value("reranker_load_ratio") == metrics.load.ratio() > 0
