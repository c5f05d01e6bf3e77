"""What the benchmarks ask, and how they judge and show what they measured."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import fmean

import pytest

from bench.engine import Window
from bench.limit import Dimensions
from bench.machine import described
from bench.pod_start import phases
from bench.pod_start import table as pod_start_table
from bench.report import Record, plot, table, with_table
from bench.systems import SYSTEMS
from bench.workloads import WORKLOADS, Workload, questions

MINILM = Dimensions(layers=6, hidden=384, intermediate=1536)
RECORD = Record("reranker-worker", "minilm", "W1", "float32", 80.0, 1250, 1300, 2.5, 450, 0.6, 1e-6, 1.0)


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_workload_asks_the_same_in_each_run_and_something_else_each_time(workload: Workload) -> None:
    first, again = (list(islice(questions(workload), 50)) for _ in range(2))
    assert first == again
    assert len({question.documents for question in first}) == 50
    assert {len(question.documents) for question in first} == {100}


def test_mixed_documents_are_a_few_long_ones_among_many_short() -> None:
    short, mixed = (
        [len(text) for question in islice(questions(workload), 10) for text in question.documents]
        for workload in (WORKLOADS[0], WORKLOADS[2])
    )
    assert max(short) <= 800
    assert 1.5 < fmean(mixed) / fmean(short) < 2.5
    assert 1500 < max(mixed) <= 2000


def test_a_pair_of_minilm_needs_two_billion_operations() -> None:
    assert MINILM.pair_flop(92) == pytest.approx(2.04e9, rel=0.01)


@pytest.mark.parametrize(
    ("busy_s", "idle"), [(9.7, 0.03), (10.0, 0.0), (10.1, 0.0)], ids=["some", "none", "a batch that began before"]
)
def test_the_idle_share_is_what_no_batch_took(busy_s: float, idle: float) -> None:
    window = Window(seconds=10.0, busy_s=busy_s, pairs=100, tokens=9000, latencies_s=(1.0,))
    assert window.idle_share == pytest.approx(idle)


def test_scores_come_back_as_logits_in_the_order_of_the_documents() -> None:
    answer = {"results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.88079708}]}
    by_name = {system.name: system for system in SYSTEMS}
    assert by_name["infinity"].logits(answer) == pytest.approx([2.0, 0.0])
    assert by_name["reranker-worker"].logits(answer) == [0.88079708, 0.5]
    sie = {"scores": [{"item_id": "1", "score": 0.5, "rank": 0}, {"item_id": "0", "score": 0.88079708, "rank": 1}]}
    assert by_name["sie"].logits(sie) == pytest.approx([2.0, 0.0])


def test_the_table_tells_how_many_times_a_peer_is_outdone_and_who_is_missing() -> None:
    peer = replace(RECORD, system="peer", pairs_per_s=20.0)
    lines = table([peer, RECORD], {"another": "it has no wheel"}, "A CPU, idle before").splitlines()
    assert lines[0] == "A CPU, idle before."
    assert lines[4].startswith("| reranker-worker | W1 | 80 | 1.00 |")
    assert lines[5].startswith("| peer | W1 | 20 | 4.00 |")
    assert lines[-1] == "- another: it has no wheel."


def test_the_page_keeps_all_but_its_table() -> None:
    page = Path("docs/performance.md").read_text()
    once = with_table(page, table([RECORD], {}, "A CPU"))
    assert "| reranker-worker | W1 | 80 |" in once
    assert with_table(once, "none") == with_table(page, "none")
    with pytest.raises(ValueError, match="no place for the table"):
        with_table("# A page without marks\n", "none")


@pytest.mark.parametrize(
    ("flags", "load", "said"),
    [
        ("avx2 fma", 0.1, "A CPU, 2 CPUs, AVX2, no bf16 units; idle before"),
        ("avx2 avx512f avx512_bf16", 0.1, "A CPU, 2 CPUs, AVX-512, with bf16 units; idle before"),
        ("sse2", 3.25, "A CPU, 2 CPUs, no AVX2, no bf16 units; not idle before: load 3.2"),
    ],
    ids=["AVX2", "bf16 units", "busy"],
)
def test_a_machine_says_what_its_figures_can_be_compared_with(flags: str, load: float, said: str) -> None:
    assert described("A CPU", 2, frozenset(flags.split()), load) == said


def test_the_plot_has_a_bar_for_each_record_as_long_as_it_is_fast() -> None:
    peer = replace(RECORD, system="peer", pairs_per_s=20.0)
    bars = ET.fromstring(plot([peer, RECORD])).findall("{http://www.w3.org/2000/svg}rect")[1:]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths[0] == 4 * widths[1]


def test_a_pod_s_start_is_told_by_phase_as_far_as_its_log_tells_it() -> None:
    log = "\n".join(
        f'2026-11-25T10:00:{second:09.6f}000Z {{"event": "{event}"}}'
        for second, event in ((2.5, "listening"), (2.6, "model load starts"), (3.5, "model loaded"), (3.6, "serving"))
    )
    log += '\n2026-11-25T10:00:09.000000000Z {"event": "serving"}'  # a later swap
    start = phases(log, 1795600801.0, 1795600805.0)
    assert list(start.values()) == pytest.approx([1.5, 1.6, 2.5, 2.6, 4.0])
    assert pod_start_table([start])[3] == "| the manifest is read | 1.60 s | 0.10 s |"
