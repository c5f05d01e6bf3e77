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
    assert pace.bytes_per_second(2, 10) == 0
    assert pace.bytes_per_second(3, 60) == 50
