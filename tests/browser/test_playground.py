"""The playground in a real browser, on a real worker: what people see is what the API answers."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import serving
from tests.fixtures.checkpoints import bert_checkpoint
from tests.fixtures.worker_process import WorkerProcess, worker_process

QUERY = "fast python library"
DOCUMENTS = ["a small tool", "the python compiler", "sound and music", "network server", "an image editor", "a game"]


def ask(page: Page, query: str = QUERY, documents: str = "\n".join(DOCUMENTS)) -> None:
    page.get_by_label("Query").fill(query)
    page.get_by_label("Documents").fill(documents)
    with page.expect_response("**/v1/rerank"):
        page.get_by_role("button", name="Rank", exact=False).click()


def rows(page: Page, side: str = "left") -> Locator:
    return page.locator(f"article.{side} li")


def shown(page: Page, side: str = "left") -> list[tuple[str, str]]:
    """Return the texts and scores of one ranking, best first, once it is that of DOCUMENTS."""
    expect(rows(page, side)).to_have_count(len(DOCUMENTS))
    return [(row.locator(".text").inner_text(), row.locator(".score").inner_text()) for row in rows(page, side).all()]


def answered(worker: WorkerProcess, **body: Any) -> list[tuple[str, str]]:
    """Return what the API says to the same, as the page writes it."""
    answer = worker.rerank(query=QUERY, documents=DOCUMENTS, **body).json()
    return [(DOCUMENTS[item["index"]], f"{item['relevance_score']:.4f}") for item in answer["results"]]


def compare(page: Page) -> None:
    page.get_by_label("Compare side by side").check()
    expect(page.locator("article.right li").first).to_be_visible()


def test_a_first_visit_shows_an_example_ranked_and_what_ranked_it(page: Page) -> None:
    expect(page.get_by_label("Query")).not_to_be_empty()
    expect(rows(page)).to_have_count(8)
    expect(page.locator("article.left")).to_contain_text("revision m-1")
    expect(page.locator("#served")).to_have_text("acme/ranker")
    expect(page.get_by_text("serves m-1")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text(re.compile(r"8 documents ranked in \d+ ms\."))


def test_the_ranking_is_the_apis(page: Page, worker: WorkerProcess) -> None:
    ask(page)
    assert shown(page) == answered(worker)


def test_an_adapter_is_picked_and_named(page: Page, worker: WorkerProcess) -> None:
    page.get_by_label("Adapter").first.select_option("legal")
    ask(page)
    expect(page.locator("article.left")).to_contain_text("adapter legal-1")
    assert shown(page) == answered(worker, adapter="legal") != answered(worker)


def test_side_by_side_tells_how_far_each_document_moved(page: Page, worker: WorkerProcess) -> None:
    compare(page)
    ask(page)
    left, right = shown(page, "left"), shown(page, "right")
    assert (left, right) == (answered(worker), answered(worker, adapter="legal"))

    before = [text for text, _ in left]
    moves = [before.index(text) - place for place, (text, _) in enumerate(right)]
    said = [f"up {move}" if move > 0 else f"down {-move}" if move < 0 else "same place" for move in moves]
    assert any(moves)
    assert rows(page, "right").locator(".change .unseen").all_inner_texts() == said
    expect(page.locator("#columns path")).to_have_count(len(DOCUMENTS))
    expect(page.get_by_role("status")).to_contain_text(
        f"{sum(map(bool, moves))} of {len(DOCUMENTS)} have another place"
    )


def test_a_revision_is_pinned(page: Page, worker: WorkerProcess) -> None:
    assert page.locator("#revisions option").evaluate_all("all => all.map((each) => each.value)") == ["m-1", "m-2"]
    page.get_by_label("Revision").first.fill("m-2")
    ask(page)
    expect(page.locator("article.left")).to_contain_text("revision m-2")
    assert shown(page) != answered(worker)


@pytest.mark.parametrize(
    ("label", "value", "code", "message"),
    [
        pytest.param("Revision", "m-9", "409 RevisionUnknown", "has never been served here", id="unknown revision"),
        pytest.param("Query", "", "400 InvalidRequest", "query: String should have", id="empty query"),
        pytest.param("Documents", "", "400 InvalidRequest", "documents is empty", id="no documents"),
    ],
)
def test_an_error_is_shown_as_the_api_gives_it(label: str, value: str, code: str, message: str, page: Page) -> None:
    page.get_by_label(label).first.fill(value)
    page.get_by_label("Query").press("Enter")
    alert = page.get_by_role("alert")
    expect(alert.get_by_role("heading")).to_have_text(code)
    expect(alert.locator("p").first).to_contain_text(message)
    answer = json.loads(alert.get_by_label("answer").inner_text())
    assert answer["error"]["code"] == code.split()[1]


def test_one_side_can_fail_while_the_other_is_shown(page: Page) -> None:
    compare(page)
    page.get_by_label("Revision").last.fill("m-9")
    ask(page)
    expect(page.locator("article.right").get_by_role("alert")).to_contain_text("RevisionUnknown")
    expect(rows(page, "left")).to_have_count(len(DOCUMENTS))


def test_markup_and_scripts_in_documents_are_text(page: Page) -> None:
    attacks = [
        "<script>window.owned = 1</script>",
        "<img src=x onerror='window.owned = 1'>",
        "<svg onload='window.owned = 1'></svg>",
        "javascript:window.owned = 1",
        "\"><iframe srcdoc='<script>parent.owned = 1</script>'>",
    ]
    ask(page, "<b onmouseover='window.owned = 1'>query</b>", "\n".join(attacks))
    expect(rows(page)).to_have_count(len(attacks))
    assert sorted(rows(page).locator(".text").all_inner_texts()) == sorted(attacks)
    for row in rows(page).all():
        row.hover()
    assert page.locator("#columns").locator("script, img, iframe, b").count() == 0
    assert page.evaluate("window.owned") is None


def test_the_policy_refuses_scripts_and_requests_that_are_not_the_pages(
    chromium: Browser, worker: WorkerProcess
) -> None:
    with chromium.new_context() as visitor:
        page = visitor.new_page()
        page.goto(f"{worker.url}/playground")
        page.evaluate(
            """() => {
                const script = document.createElement('script');
                script.append('window.owned = 1');
                document.body.append(script);
            }"""
        )
        assert page.evaluate("window.owned") is None
        assert (
            page.evaluate("() => { try { document.body.innerHTML = '<b>x</b>'; } catch { return 'refused'; } }")
            == "refused"
        )
        elsewhere = worker.url.replace("127.0.0.1", "localhost")
        assert page.evaluate("url => fetch(url).then(() => 'sent', () => 'refused')", elsewhere) == "refused"


def test_nothing_is_asked_of_anyone_but_the_worker(chromium: Browser, worker: WorkerProcess) -> None:
    with chromium.new_context() as visitor:
        page = visitor.new_page()
        asked: set[str] = set()
        page.on("request", lambda request: asked.add(request.url))
        page.goto(f"{worker.url}/playground")
        page.locator("article li").first.wait_for()
    pages = {f"{worker.url}/{path}" for path in ("playground", "v1/models", "info", "v1/rerank")}
    assert {url for url in asked if not url.startswith("data:")} == pages


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(json.dumps(DOCUMENTS), id="a list of texts"),
        pytest.param(json.dumps([{"text": text} for text in DOCUMENTS]), id="a list of objects"),
        pytest.param(json.dumps({"query": QUERY, "documents": DOCUMENTS}), id="a request of Cohere's"),
        pytest.param(json.dumps({"query": QUERY, "texts": DOCUMENTS}, indent=2), id="a request of TEI's"),
    ],
)
def test_json_is_read_as_what_it_holds(written: str, page: Page, worker: WorkerProcess) -> None:
    ask(page, documents=written)
    assert shown(page) == answered(worker)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        pytest.param('["a", ', "This begins like JSON, but", id="cut off"),
        pytest.param('{"query": "q"}', "there is no list of documents in it", id="no documents"),
        pytest.param('["a", 1]', "documents.1 is neither a text nor an object with a text", id="a number"),
    ],
)
def test_json_that_cannot_be_read_says_what_can_be(written: str, message: str, page: Page) -> None:
    field = page.get_by_label("Documents")
    field.fill(written)
    expect(field).to_have_accessible_description(re.compile(f"{re.escape(message)}.*Paste a list of texts"))
    expect(field).to_have_attribute("aria-invalid", "true")
    before = rows(page).count()
    page.get_by_role("button", name="Rank", exact=False).click()
    expect(field).to_be_focused()
    assert rows(page).count() == before


def test_all_is_done_by_keyboard(page: Page) -> None:
    page.get_by_label("Query").fill("music")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Documents")).to_be_focused()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("sound and music\nimage editor")
    page.keyboard.press("ControlOrMeta+Enter")
    expect(rows(page)).to_have_count(2)
    for reached in ("Adapter", "Revision", "Compare side by side"):
        page.keyboard.press("Tab")
        expect(page.get_by_label(reached).first).to_be_focused()
    page.keyboard.press("Space")
    expect(rows(page, "right")).to_have_count(2)


def test_a_long_document_opens_and_closes(page: Page) -> None:
    ask(page, documents="the end " * 200)
    text = rows(page).get_by_role("button")
    closed = text.bounding_box()
    text.press("Enter")
    expect(text).to_have_attribute("aria-expanded", "true")
    opened = text.bounding_box()
    assert closed is not None
    assert opened is not None
    assert opened["height"] > closed["height"]


def test_many_documents_are_shown_in_part_until_asked_for(page: Page) -> None:
    ask(page, documents="\n".join(f"tool {number}" for number in range(60)))
    expect(rows(page)).to_have_count(50)
    page.get_by_role("button", name="Show 10 more").click()
    expect(rows(page)).to_have_count(60)


def test_the_request_can_be_sent_from_a_shell(page: Page) -> None:
    page.get_by_label("Revision").first.fill("m-2")
    ask(page, "it's", "a tool")
    expect(rows(page)).to_have_count(1)
    page.get_by_text("The same from a shell").click()
    command = page.get_by_label("curl command")
    expect(command).to_contain_text("-H 'x-reranker-revision: m-2'")
    expect(command).to_contain_text("""{"query":"it'\\''s","documents":["a tool"]}""")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_theme_meets_the_accessibility_rules(scheme: Any, chromium: Browser, worker: WorkerProcess) -> None:
    with chromium.new_context(color_scheme=scheme, reduced_motion="reduce") as visitor:
        page = visitor.new_page()
        page.goto(f"{worker.url}/playground")
        compare(page)
        page.get_by_label("Revision").last.fill("m-9")
        ask(page)
        page.get_by_role("alert").wait_for()
        found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_the_theme_follows_the_system_until_it_is_chosen(chromium: Browser, worker: WorkerProcess) -> None:
    with chromium.new_context(color_scheme="dark") as visitor:
        page = visitor.new_page()
        page.goto(f"{worker.url}/playground")
        dark = _background(page)
        page.get_by_role("button", name="Light").click()
        light = _background(page)
        expect(page.get_by_role("button", name="Dark")).to_be_visible()
    assert sum(dark) < 3 * 64
    assert sum(light) > 3 * 192


def test_a_telephone_needs_no_sideways_scrolling(chromium: Browser, worker: WorkerProcess) -> None:
    with chromium.new_context(viewport={"width": 360, "height": 740}) as visitor:
        page = visitor.new_page()
        page.goto(f"{worker.url}/playground")
        compare(page)
        assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_swap_shows_while_one_looks(page: Page, worker: WorkerProcess) -> None:
    page.clock.install()
    page.reload()
    expect(page.get_by_text("serves m-1")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("ranked in")  # else the example's ranking is what is said last
    worker.write(serving("m-2", "m-1", generation=2))
    worker.wait(lambda state: any(entry["revision"] == "m-2" and entry["serving"] for entry in state["models"]))
    page.clock.run_for(5_000)
    expect(page.get_by_text("serves m-2")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("another revision now: m-2, before m-1")


def test_a_worker_by_itself_serves_the_page_and_asks_for_its_key(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret-key\n")
    model = bert_checkpoint(tmp_path / "model", seed=1)
    with worker_process(tmp_path / "pod") as worker, chromium.new_context() as visitor:
        worker.start(
            "serve",
            f"--model={model}",
            "--playground",
            f"--api-keys-file={tmp_path / 'keys'}",
            f"--port={worker.port}",
            f"--internal-port={worker.internal_port}",
            "--host=127.0.0.1",
        )
        worker.wait(lambda state: state.get("ready"))
        page = visitor.new_page()
        page.goto(f"{worker.url}/playground")
        expect(page.get_by_role("alert")).to_contain_text("401 Unauthorized")
        page.get_by_label("Key").fill("secret-key")
        page.get_by_role("button", name="Rank", exact=False).click()
        expect(rows(page)).to_have_count(8)
        assert "secret-key" not in page.locator("#curl").text_content()  # type: ignore[operator]


def _background(page: Page) -> list[int]:
    """Return the page's background as red, green and blue."""
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return [int(part) for part in re.findall(r"\d+", colour)]
