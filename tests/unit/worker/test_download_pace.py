"""The rate of a download: over the last ten seconds, and never below nothing."""

from reranker_worker.fetching.pace import Pace


def test_the_rate_is_what_came_in_the_last_ten_seconds() -> None:
    pace = Pace()
    assert pace.bytes_per_second(0, 1000) == 0  # an earlier process brought these
    assert pace.bytes_per_second(1, 1100) == 100
    assert pace.bytes_per_second(2, 1400) == 200
    for second in range(3, 14):
        rate = pace.bytes_per_second(second, 1400)
    assert rate == 0


def test_a_download_that_begins_anew_has_no_negative_rate() -> None:
    pace = Pace()
    pace.bytes_per_second(0, 0)
    pace.bytes_per_second(1, 1000)
    rates = [pace.bytes_per_second(second, 50 * (second - 2)) for second in range(2, 14)]
    assert min(rates) == 0
    assert rates[-1] == 50


def test_a_part_that_is_there_twice_for_a_moment_hardly_shows() -> None:
    pace = Pace()
    rates = [pace.bytes_per_second(second, 1000 * second + (500 if second == 5 else 0)) for second in range(16)]
    assert rates[5:7] == [1100, 1000]
    assert rates[-2:] == [1000, 950]
