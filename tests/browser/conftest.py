"""A real browser and a real worker; every test is a new visitor of the page."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from hack.playground.browser import browser
from tests.fixtures.checkpoints import bert_checkpoint, lora_adapter
from tests.fixtures.manifests import adapter, document, model
from tests.fixtures.worker_process import WorkerProcess, worker_process


# Not for the whole run: while it lives, its event loop runs in this thread, and tests on loops of their own couldn't.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    """A worker that answers with m-1, has m-2 beside it, and an adapter on both."""
    with worker_process(tmp_path_factory.mktemp("pod")) as worker:
        base = bert_checkpoint(worker.claim / "m-1", seed=1)
        bert_checkpoint(worker.claim / "m-2", seed=2)
        lora_adapter(worker.claim / "legal-1", base, seed=1)
        worker.start("fetch", "--template=t1")
        worker.serve("--drain-delay-s=1")
        worker.write(serving("m-1", "m-2", generation=1))
        worker.wait(lambda state: [entry["phase"] for entry in state.get("models", [])] == ["Loaded"] * 2)
        worker.wait(lambda state: state["ready"])
        yield worker


@pytest.fixture
def page(chromium: Browser, worker: WorkerProcess) -> Iterator[Page]:
    """The page as a first visit shows it, its first example ranked; it may not complain in the console."""
    with chromium.new_context(reduced_motion="reduce") as visitor:
        page = visitor.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if _is_complaint(message) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{worker.url}/playground")
        page.locator("article li").first.wait_for()
        yield page
        assert complaints == []


def serving(first: str, beside: str, *, generation: int) -> dict[str, object]:
    """Return the manifest by which `first` answers and `beside` can be pinned."""
    return document(
        generation,
        models=[model("m-1"), model("m-2")],
        serve={"t1": first},
        candidates={"t1": beside},
        admitted=["m-1", "m-2"],
        adapters=[adapter("legal", "legal-1", required=True)],
        playground=True,
    )


def _is_complaint(message: ConsoleMessage) -> bool:
    # Chromium notes every answer beyond 399 in the console, whatever the page makes of it.
    return message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource")
