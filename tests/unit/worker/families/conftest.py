"""A tiny checkpoint of each family and an engine that has loaded them, made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import EngineSettings, Limits, LoadedModel
from tests.fixtures.families import FAMILIES

RAW = EngineSettings(dtype="float32", scores="raw")


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = Engine(Limits(), "cpu")
    engine.start()
    yield engine
    engine.close()


@pytest.fixture(scope="session", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def base(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FAMILIES[family](tmp_path_factory.mktemp(family))


@pytest.fixture(scope="session")
def model(engine: Engine, base: Path) -> LoadedModel:
    return engine.load_model(base, f"{base.name}-1", RAW)
