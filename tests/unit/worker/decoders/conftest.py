"""Tiny decoder rerankers and a running engine, made once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from reranker_worker.scoring.engine import Engine
from reranker_worker.serving import EngineSettings, Limits, LoadedModel
from tests.fixtures.decoders import FAMILIES, decoder_checkpoint

RAW = EngineSettings(dtype="float32", max_length=1024, scores="raw")


@dataclass(frozen=True)
class Decoder:
    """A tiny decoder reranker on disk and in memory."""

    family: str
    folder: Path
    model: LoadedModel


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    engine = Engine(Limits(), "cpu")
    engine.start()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def decoders(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Decoder]:
    """Return the decoder of a family."""

    def made(family: str) -> Decoder:
        folder = decoder_checkpoint(tmp_path_factory.mktemp(family), family)
        return Decoder(family, folder, engine.load_model(folder, f"{family}-1", RAW))

    return cache(made)


@pytest.fixture(params=FAMILIES)
def decoder(request: pytest.FixtureRequest, decoders: Callable[[str], Decoder]) -> Decoder:
    return decoders(request.param)
