"""What is logged of an error: where it came from, and nothing that passed through there."""

import logging
import uuid
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from reranker_worker.fetching.origins import Hub
from reranker_worker.logs import configure_logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the logs as other tests expect them."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def fails(token: str) -> None:
    hub = Hub("http://hub", token)
    raise RuntimeError(f"no answer of {hub.endpoint}")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_variable(
    capsys: pytest.CaptureFixture[str], log_format: Literal["json", "console"]
) -> None:
    configure_logs(log_format, "info")
    secret = uuid.uuid4().hex  # which no line of a traceback spells
    try:
        fails(secret)
    except RuntimeError:
        structlog.get_logger("worker").exception("it broke")
    printed = capsys.readouterr().err
    assert "no answer of http://hub" in printed
    assert "fails" in printed
    assert secret not in printed


def test_a_credential_is_no_part_of_what_is_shown_of_its_owner() -> None:
    assert "secret" not in repr(Hub("http://hub", "secret"))
