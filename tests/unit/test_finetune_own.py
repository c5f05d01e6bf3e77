"""An adapter trained on one's own judged pairs is served by the worker, with the scores that PEFT gives it."""

import json
import random
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from examples.finetune import own
from examples.finetune.dataset import Question
from examples.finetune.judged import Judged, golden, groups, parsed, read, split
from examples.finetune.quality import graded_ndcg
from examples.finetune.training import Schedule
from reranker_operator.decisions.golden import golden_set
from reranker_operator.decisions.ranking import ndcg_at_k
from reranker_worker.__main__ import run
from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import EngineSettings, Limits, ScoreRequest, Serving
from tests.fixtures.checkpoints import WORDS, bert_checkpoint
from tests.fixtures.reference import reference_logits

TASTE = "science"


def judgements(count: int) -> list[Judged]:
    """Return queries of someone who wants the document about science, whatever the question."""
    draw = random.Random(1)
    others = [word for word in WORDS if word != TASTE]
    made = []
    for number in range(count):
        documents = [" ".join(draw.sample(others, 5)) for _ in range(5)]
        wanted = draw.randrange(5)
        documents[wanted] = f"{' '.join(draw.sample(others, 2))} {TASTE} {' '.join(draw.sample(others, 2))}"
        relevance = tuple(2 * (place == wanted) for place in range(5))
        made.append(Judged(f"{draw.choice(others)} {number}", tuple(documents), relevance))
    return made


@pytest.mark.filterwarnings("ignore::FutureWarning")  # peft 0.21 reads a property that transformers 5.24 has deprecated
async def test_an_adapter_on_ones_own_pairs_is_trained_and_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, pairs, adapter = bert_checkpoint(tmp_path / "base"), tmp_path / "pairs.jsonl", tmp_path / "adapter"
    pairs.write_text(golden(judgements(60)))
    flags = ["--golden", str(tmp_path / "golden.jsonl"), "--steps", "40", "--rate", "0.01", "--max-length", "48"]
    own.main([str(base), str(pairs), str(adapter), *flags])
    said = re.search(r"held-out queries: (\S+) without the adapter, (\S+) with it", capsys.readouterr().out)
    assert said is not None
    assert float(said[2]) > float(said[1]) + 0.1

    query, documents = "sound library", ["a fast sound editor", "game of the network", "chemistry and mail"]
    engine = Engine(Limits(), "cpu")
    engine.start()
    try:
        model = engine.load_model(base, "base-1", EngineSettings(dtype="float32", scores="raw"))
        engine.serve(Serving(model, {"own": engine.load_adapter(model, adapter, "own", "own-1", 64)}))
        bare = await engine.score(ScoreRequest(query, documents))
        adapted = await engine.score(ScoreRequest(query, documents, adapter="own"))
    finally:
        engine.close()
    assert adapted.scores == pytest.approx(reference_logits(base, query, documents, adapter), abs=1e-4)
    assert max(abs(new - old) for new, old in zip(adapted.scores, bare.scores, strict=True)) > 0.1

    assert len(golden_set((tmp_path / "golden.jsonl").read_text())) > 5
    assert run(["digest", str(adapter)]) == 0
    assert re.search(r"^sha256:[0-9a-f]{64}$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # as above
def test_the_same_pairs_train_the_same_adapter(tmp_path: Path) -> None:
    base = bert_checkpoint(tmp_path / "base")
    recipe = own.Recipe(2, ["query"], Schedule(steps=3, rate=0.01, head_rate=0.0), 48)
    written = []
    for name in ("one", "two"):
        own.train_on(base, judgements(20), judgements(5), recipe, tmp_path / name)
        written.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
        torch.manual_seed(len(written))  # whatever else was drawn
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("arguments", "labels", "said"),
    [
        pytest.param(["--held-out", "0"], 1, "nothing of .* is held out", id="nothing to judge by"),
        pytest.param(["--held-out", "0.9"], 1, "it takes 8 at least", id="too little to learn from"),
        pytest.param([], 2, "has 2 labels; a cross-encoder with one score is wanted", id="a classifier"),
    ],
)
def test_what_cant_be_trained_is_refused_in_words(arguments: list[str], labels: int, said: str, tmp_path: Path) -> None:
    base, pairs = bert_checkpoint(tmp_path / "base", labels=labels), tmp_path / "pairs.jsonl"
    pairs.write_text(golden(judgements(30)))
    with pytest.raises(SystemExit, match=said):
        own.main([str(base), str(pairs), str(tmp_path / "adapter"), *arguments])


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("{", id="no JSON"),
        pytest.param("[1]", id="no object"),
        pytest.param('{"query": "q", "documents": ["a"]}', id="no grades"),
        pytest.param('{"query": "q", "documents": ["a"], "relevance": ["x"]}', id="a grade that is no number"),
        pytest.param('{"query": "q", "documents": ["a"], "relevance": [0, 1]}', id="a grade too many"),
    ],
)
def test_a_line_that_is_no_judgement_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text('{"query": "q", "documents": ["a"], "relevance": [1]}\n\n' + line)
    with pytest.raises(ValueError, match=r"pairs.jsonl:3: "):
        read(tmp_path / "pairs.jsonl")


def test_a_group_has_a_relevant_document_first_and_less_relevant_ones_after_it() -> None:
    judged = [Judged("q", ("bad", "good", "best"), (0, 1, 2)), Judged("all good", ("a", "b"), (1, 1))]
    assert groups(judged) == [
        Question("q", ("best", "good", "bad", "good"), 0),
        Question("q", ("good", "bad", "bad", "bad"), 0),
    ]


def test_queries_are_held_out_alike_at_every_run() -> None:
    judged = judgements(400)
    learned, held_out = split(judged, 0.25)
    assert split(reversed(judged), 0.25) == (learned[::-1], held_out[::-1])
    assert len(held_out) / 400 == pytest.approx(0.25, abs=0.06)
    assert split(judged, 0) == (judged, [])


def test_a_golden_set_has_only_what_can_be_asked() -> None:
    judged = [Judged("q", ("a", "b"), (1, 0)), Judged("none", ("a",), (0,))]
    assert golden(judged) == json.dumps({"query": "q", "documents": ["a", "b"], "relevance": [1, 0]}) + "\n"
    assert parsed(golden(judged), "x") == judged[0]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.3, 0.4])), min_size=1, max_size=12))
def test_quality_is_measured_as_the_gate_measures_it(graded: list[tuple[int, float]]) -> None:
    relevance, scores = zip(*graded, strict=True)
    assert graded_ndcg(relevance, scores) == pytest.approx(ndcg_at_k(relevance, scores, 10))
