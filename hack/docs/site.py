"""The site: its pages put together in a folder, and built there, strictly, without the network."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from hack.docs.pages import DOCS, GUESTS, Page, code_page, listed, navigation, page
from hack.repository import ROOT, tracked

CONFIGURATION = ROOT / "mkdocs.yml"
WORK = ROOT / "build"


def build(work: Path) -> str:
    """Put the pages together in `work`/docs and build them into `work`/site; say what is wrong with them."""
    for each in ("docs", "site"):
        shutil.rmtree(work / each, ignore_errors=True)
    pages = assemble(work)
    done = subprocess.run(
        [Path(sys.executable).parent / "zensical", "build", "--strict", "--clean"],
        cwd=work,
        env={**os.environ, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return missing(work, pages) + (done.stdout if done.returncode else "")


def unbuildable() -> str:
    """Build the site elsewhere; say what is wrong with it."""
    with tempfile.TemporaryDirectory() as folder:
        return build(Path(folder))


def assemble(work: Path) -> list[Page]:
    """Write the pages, what they show, and the configuration; return the pages."""
    sources = [path for path in tracked(DOCS) if path.endswith(".md")]
    pages = [page(path, (ROOT / path).read_text(), _exists) for path in [*sources, *GUESTS]]
    shown = sorted({path for each in pages for path in each.wants})
    for each in [*pages, *(_code(path) for path in shown)]:
        _write(work / "docs", each)
    for path in tracked(DOCS):
        if not path.endswith(".md"):
            _copied(ROOT / path, work / "docs" / path.removeprefix(DOCS))
    configuration = yaml.safe_load(CONFIGURATION.read_text())
    configuration["nav"] = navigation(configuration["nav"], [each.name for each in pages])
    (work / "mkdocs.yml").write_text(yaml.safe_dump(configuration, sort_keys=False))
    return pages


def missing(work: Path, pages: list[Page]) -> str:
    """Name what the builder passes over: files, pictures and entries of the navigation that aren't there."""
    named = listed(yaml.safe_load((work / "mkdocs.yml").read_text())["nav"])
    wrong = [f"{each.name} leads to {link}, which isn't there" for each in pages for link in each.gone]
    wrong += [f"mkdocs.yml names {name}, which is no page" for name in named if not (work / "docs" / name).is_file()]
    return "".join(f"{line}\n" for line in wrong)


def _exists(path: str) -> bool:
    return (ROOT / path).exists()


def _code(path: str) -> Page:
    return code_page(path, [(name, (ROOT / name).read_text()) for name in tracked(path)])


def _write(folder: Path, each: Page) -> None:
    target = folder / each.name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(each.text)


def _copied(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
