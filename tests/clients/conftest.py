"""The stage, what is asked of every client, and one JSON line of report for each check."""

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.clients.client import Ask
from tests.clients.stage import VARIABLE, Stage, stage_from_environment

if VARIABLE not in os.environ:
    collect_ignore_glob = ["test_*.py"]  # they need a served model and libraries that only `make clients` installs

QUESTIONS = Path(__file__).parents[2] / "examples" / "debian-search" / "queries.json"
_QUESTION = "cave surveying and mapping software"
_DOCUMENTS = 8
_CHARACTERS = 400


@pytest.fixture(scope="session")
def stage() -> Stage:
    return stage_from_environment()


@pytest.fixture(scope="session")
def ask(stage: Stage) -> Ask:
    """A real question of the corpus with the first documents that BM25 found for it."""
    content = json.loads(QUESTIONS.read_text())
    row = next(row for row in content["queries"] if row["query"] == _QUESTION)
    documents = [content["packages"][name]["long"][:_CHARACTERS] for name in row["candidates"][:_DOCUMENTS]]
    return stage.ask(query=_QUESTION, documents=documents)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Append what a check came to: passed or failed, and what the client's users saw."""
    report = yield
    told = dict(item.user_properties)
    if report.failed or (report.when == "call" and report.passed):
        line = {**told, "outcome": report.outcome, "test": item.name}
        with Path(os.environ["RERANKER_CLIENTS_REPORT"]).open("a") as file:
            file.write(json.dumps(line) + "\n")
    return report
