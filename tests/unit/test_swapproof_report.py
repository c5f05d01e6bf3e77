"""What a run says at its end: costs, report, lines, picture, and the docs that it writes."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from hack.stage.history import Request
from hack.swapproof import cost, record, report, timeline
from hack.swapproof.checks import verdict
from hack.swapproof.record import Record
from tests.fixtures.runs import NEW, failure, request, run, with_requests


def write_run(folder: Path, wanted: Record) -> None:
    """Write a run as the command does: the load's lines are the load's."""
    record.write(folder, wanted.steps, wanted.fleet)
    record.write_facts(folder, wanted.facts)
    (folder / record.HISTORY).write_text("".join(_line(request) for request in wanted.requests))


def _line(request: Request) -> str:
    names = ("phase", "asked", "latency_s", "status", "revision", "adapter", "connection")
    members = {name: getattr(request, name) for name in names}
    return json.dumps({"time": request.sent, "error": request.error, "scores": request.scores, **members}) + "\n"


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_run(tmp_path, run())
    assert record.read(tmp_path) == run()


def test_each_way_to_swap_has_its_cost() -> None:
    roll, adapter = cost.costs([run()])
    assert (adapter.way, adapter.swaps, adapter.median_s) == (cost.ADAPTER_ALONE, 1, 1.0)
    assert (roll.way, roll.requests, roll.p99_s) == ("RollingUpdate", 4, 0.04)
    assert roll.ratio == pytest.approx(4.0)


def test_one_slow_swap_of_three_does_not_decide_the_median_swap() -> None:
    slow = with_requests(request(105.5, latency_s=2.0))
    roll = next(found for found in cost.costs([run(), slow, run()]) if found.way == "RollingUpdate")
    assert (roll.swaps, roll.p99_s, roll.median_swap_p99_s) == (3, 2.0, 0.04)


def test_a_swap_lasts_until_the_old_one_s_last_answer() -> None:
    good = run()
    assert cost.served(good, good.steps[0]) == 110.0
    late = with_requests(request(109.9, latency_s=0.5))
    assert cost.served(late, late.steps[0]) == pytest.approx(110.4)


@pytest.mark.parametrize(
    "members", [{"disturbance": "pod deleted"}, {"never": ("proof-00000003",)}], ids=["disturbed", "overtaken"]
)
def test_disturbed_and_overtaken_swaps_cost_nothing_that_is_told(members: dict[str, object]) -> None:
    good = run()
    bent = replace(good, steps=[replace(good.steps[0], **members), good.steps[1]])  # type: ignore[arg-type]
    assert [found.way for found in cost.costs([bent])] == [cost.ADAPTER_ALONE]


def test_the_costs_make_a_table() -> None:
    assert cost.markdown(cost.costs([run()])).splitlines()[2:] == [
        "| the model, `RollingUpdate` | 1 | 10.0 s | 10.0 s | 10 ms, 40 ms | 10 ms, 10 ms | 4.0 | 4.0 |",
        "| an adapter alone | 1 | 1.0 s | 1.0 s | 10 ms, 10 ms | 10 ms, 10 ms | 1.0 | 1.0 |",
    ]


def test_a_judged_run_leaves_its_report_and_picture(tmp_path: Path) -> None:
    write_run(tmp_path, with_requests(failure(95.0)))
    _, found = report.judge(tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    assert (written["holds"], written["failed"], written["invariants"]["I1"]["violations"]) == (False, 1, 1)
    assert found == verdict(with_requests(failure(95.0)))
    assert ET.fromstring((tmp_path / "timeline.svg").read_text()).tag.endswith("svg")


def test_the_lines_tell_the_first_violations_and_end_with_the_count() -> None:
    found = verdict(with_requests(*(failure(95.0 + number / 100) for number in range(14))))
    lines = report.lines(found)
    assert lines[0] == "  I1 (no request fails): HTTP 503: draining"
    assert "  … and 4 more in report.json" in lines
    assert lines[-1] == "swap-proof: 3 swaps, 25 requests, 14 failed, 0 wrong"


def test_too_few_swaps_are_told() -> None:
    good = run()
    found = verdict(replace(good, facts=replace(good.facts, swaps=60)))
    assert report.lines(found)[-2] == "  57 swaps fewer than were asked for"


def test_the_docs_get_the_figures_between_their_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "swap-proof.md"
    page.write_text(f"before\n{report.BEGIN}\nold figures\n{report.END}\nafter\n")
    monkeypatch.setattr(report, "PAGE", page)
    monkeypatch.setattr(report, "PICTURE", tmp_path / "images" / "swaps.svg")
    report.publish([(run(), verdict(run()))])
    text = page.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n| seed |")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "| 1 | 3 | 1 | 0 | 11 | 0 | 0 |" in text
    assert "old figures" not in text
    assert (tmp_path / "images" / "swaps.svg").read_text().startswith("<svg")


def test_the_page_of_the_docs_has_the_marks() -> None:
    text = report.PAGE.read_text()
    assert text.index(report.BEGIN) < text.index(report.END)


def drawn(wanted: Record) -> ET.Element:
    return ET.fromstring(timeline.svg(wanted, "two swaps"))


def texts(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter() if element.tag.endswith("text")]


def titles(picture: ET.Element) -> list[str]:
    return [element.text or "" for element in picture.iter() if element.tag.endswith("title")]


def test_the_picture_names_its_models_and_swaps() -> None:
    picture = drawn(run())
    assert {"two swaps", "first", "second"} <= set(texts(picture))
    assert titles(picture) == ["1: roll", "2: adapter changed", "3: refused", "4: overtaken"]


def test_a_failed_request_is_in_the_picture() -> None:
    told = "HTTP 503: draining"
    assert told not in titles(drawn(run()))
    assert titles(drawn(with_requests(failure(95.0))))[-1] == told


@pytest.mark.parametrize(
    ("members", "shade"),
    [
        pytest.param({}, "#e9ecef", id="a roll"),
        pytest.param({"strategy": "InPlace"}, "#fff3bf", id="in place"),
        pytest.param({"strategy": "Sideways"}, timeline.OTHER_SHADE, id="a strategy to come"),
        pytest.param({"after": run().steps[0].before}, timeline.REFUSED_SHADE, id="refused"),
    ],
)
def test_a_band_has_the_shade_of_its_way(members: dict[str, object], shade: str) -> None:
    good = run()
    bent = replace(good, steps=[replace(good.steps[0], **members)])  # type: ignore[arg-type]
    (band,) = [element for element in drawn(bent).iter() if element.find("{*}title") is not None]
    assert band.get("fill") == shade


def bars(picture: ET.Element) -> Sequence[str]:
    return [element.get("d") or "" for element in picture.iter() if element.tag.endswith("path")]


def test_each_model_s_answers_make_one_path_stacked_second_by_second() -> None:
    first, second = bars(drawn(run()))
    assert first.count("M") == len({int(one.sent - 90) for one in run().requests if one.revision != NEW})
    assert second.count("M") == len({int(one.sent - 90) for one in run().requests if one.revision == NEW})
