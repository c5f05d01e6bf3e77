"""Tiny checkpoints and a running engine, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import EngineSettings, Limits, LoadedModel
from tests.fixtures.checkpoints import bert_checkpoint, xlm_roberta_checkpoint

RAW = EngineSettings(dtype="float32", scores="raw")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = Engine(Limits(), "cpu")
    engine.start()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert_checkpoint(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def xlm_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return xlm_roberta_checkpoint(tmp_path_factory.mktemp("xlm-roberta"))


@pytest.fixture(scope="session")
def bert_model(engine: Engine, bert: Path) -> LoadedModel:
    return engine.load_model(bert, "bert-1", RAW)


@pytest.fixture(scope="session")
def xlm_roberta_model(engine: Engine, xlm_roberta: Path) -> LoadedModel:
    return engine.load_model(xlm_roberta, "xlm-roberta-1", RAW)
