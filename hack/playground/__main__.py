"""`python -m hack.playground`: the page's picture for the docs, of the demo's model and one of its adapters."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ViewportSize

from hack.clients.worker import TEMPLATE, running
from hack.cluster.progress import StepError, say, step
from hack.demo import models
from hack.playground.browser import browser
from hack.repository import ROOT

PICTURE = ROOT / "docs" / "images" / "playground.png"
MOST_BYTES = 200_000
SIZE = ViewportSize(width=1360, height=886)
EXAMPLE = "Package search"
REVISION, ADAPTER, ADAPTER_NAME = "debian-search-1", "lora-names", "names"


def main() -> int:
    """Serve the model, look at it side by side with its adapter, and write the picture."""
    try:
        with tempfile.TemporaryDirectory(prefix="playground-") as folder:
            _photograph(Path(folder))
    except StepError as error:
        say(f"playground: {error}")
        return 1
    return 0


def _photograph(folder: Path) -> None:
    claims = folder / "claims"
    for artifact in models.artifacts():
        if artifact.name in {REVISION, ADAPTER}:
            shutil.copytree(artifact.folder, claims / "models" / artifact.name)
    with running(folder / "worker", claims) as worker, browser() as chromium:
        with step("the model is served", doing="starting a worker"):
            worker.tell(_manifest())
            worker.wait("it answers", lambda state: bool(state.get("ready")))
        with step(f"{PICTURE.name} is written"):
            picture = _picture(chromium, f"{worker.url}/playground")
            if len(picture) > MOST_BYTES:
                raise StepError(f"the picture has {len(picture)} bytes; at most {MOST_BYTES} are wanted in the docs")
            PICTURE.write_bytes(picture)


def _manifest() -> dict[str, Any]:
    def source(name: str) -> dict[str, str]:
        return {"uri": f"pvc://models/{name}"}

    return {
        "servedName": "acme/debian-search",
        "models": [{"revision": REVISION, "source": source(REVISION), "engine": {"dtype": "float32"}}],
        "serve": {TEMPLATE: REVISION},
        "admitted": [REVISION],
        "adapters": [{"name": ADAPTER_NAME, "revision": ADAPTER, "source": source(ADAPTER), "required": True}],
        "playground": True,
    }


def _picture(chromium: Browser, url: str) -> bytes:
    page = chromium.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
    page.goto(url)
    page.get_by_label("Ranking by the base model").wait_for()
    page.get_by_label("Example").select_option(EXAMPLE)
    page.get_by_label("Compare side by side").check()
    page.get_by_label(f"Ranking by the adapter {ADAPTER_NAME}").wait_for()
    page.get_by_role("heading", name="Playground").click()  # away from the controls: no focus ring in the picture
    return page.screenshot()


if __name__ == "__main__":
    sys.exit(main())
