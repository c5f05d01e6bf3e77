"""The workqueue under a clock that only the test moves."""

import asyncio
import random

import pytest

from reranker_operator.workqueue import BACKOFF_MAX_S, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Steady(random.Random):
    """No jitter: always the upper end."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002  (the signature is the base class's)
        return b


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock, Steady())


def test_a_key_added_twice_is_handed_out_once(queue: WorkQueue[str]) -> None:
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1
    assert queue.take() == "a"
    assert queue.take() is None


def test_keys_are_handed_out_in_the_order_in_which_they_came(queue: WorkQueue[str]) -> None:
    for key in "bac":
        queue.add(key)
    assert [queue.take() for _ in range(3)] == ["b", "a", "c"]


def test_a_key_is_never_processed_twice_at_once_and_no_change_is_missed(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    assert queue.take() is None
    queue.done("a")
    assert queue.take() == "a"
    queue.done("a")
    assert queue.take() is None


def test_a_delayed_key_is_due_after_its_delay(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 2)
    assert queue.take() is None
    assert queue.due_in() == 2
    clock.now += 2
    assert queue.take() == "a"
    assert queue.due_in() is None


def test_of_two_delays_the_shorter_one_counts(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 5)
    queue.add_after("a", 1)
    queue.add_after("a", 9)
    assert queue.due_in() == 1
    clock.now += 1
    assert queue.take() == "a"
    queue.done("a")
    clock.now += 20
    assert queue.take() is None


def test_an_event_ends_a_delay(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add_after("a", 300)
    queue.add("a")
    assert queue.take() == "a"
    queue.done("a")
    clock.now += 300
    assert queue.take() is None


def test_backoff_doubles_up_to_five_minutes_and_begins_anew_after_a_success(
    queue: WorkQueue[str], clock: Clock
) -> None:
    delays = []
    for _ in range(12):
        delays.append(queue.retry("a"))
        clock.now += delays[-1]
        assert queue.take() == "a"
        queue.done("a")
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == BACKOFF_MAX_S
    queue.forget("a")
    assert queue.retry("a") == 0.5


def test_backoffs_are_spread(clock: Clock) -> None:
    queue: WorkQueue[int] = WorkQueue(clock, random.Random(1))
    delays = {queue.retry(key) for key in range(20)}
    assert len(delays) == 20
    assert all(0.25 <= delay <= 0.5 for delay in delays)


def test_one_key_that_fails_holds_up_no_other(queue: WorkQueue[str], clock: Clock) -> None:
    for _ in range(10):
        queue.retry("bad")
        clock.now += 300
        queue.take()
        queue.done("bad")
    queue.retry("bad")
    queue.add("good")
    assert queue.take() == "good"


def test_a_thousand_delayed_keys_come_in_the_order_of_their_times(queue: WorkQueue[int], clock: Clock) -> None:
    order = random.Random(7).sample(range(1000), 1000)
    for key in order:
        queue.add_after(key, key)
    seen = []
    while (wait := queue.due_in()) is not None:
        clock.now += wait
        while (taken := queue.take()) is not None:
            seen.append(taken)
            queue.done(taken)
    assert seen == sorted(order)


async def test_workers_that_wait_share_what_comes() -> None:
    loop = asyncio.get_running_loop()
    queue: WorkQueue[str] = WorkQueue(loop.time)
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("b")
    queue.add_after("c", 0.02)
    async with asyncio.timeout(1):
        assert {await task for task in waiting} == {"a", "b", "c"}


async def test_a_key_added_while_processed_wakes_a_waiting_worker_when_done() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    queue.done("a")
    async with asyncio.timeout(1):
        assert await waiting == "a"
