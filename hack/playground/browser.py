"""A headless browser: Debian's Chromium with two fonts, unpacked into the cache, whatever this machine has."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from hack.cluster.debian import environment, unpacked

PACKAGES = ("chromium", "fonts-inter", "fonts-dejavu-core")
_PRIVATE_LIBRARIES = ("pulseaudio",)  # installed, its libraries know of this folder beside them
_FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{fonts}</dir><cachedir>{cache}</cachedir></fontconfig>
"""


@contextmanager
def browser() -> Iterator[Browser]:
    """Run a browser until the context ends; each context that it opens is a new visitor."""
    root = unpacked(PACKAGES)
    with tempfile.TemporaryDirectory(prefix="browser-") as folder, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=root / "usr/lib/chromium/chromium",
            env={**os.environ, **_places(root, Path(folder))},
        )
        try:
            yield chromium
        finally:
            chromium.close()


def _places(root: Path, scratch: Path) -> dict[str, str]:
    """Return where the unpacked browser finds its libraries, and fonts that look alike on every machine."""
    fonts = scratch / "fonts.conf"
    fonts.write_text(_FONTS.format(fonts=root / "usr/share/fonts", cache=scratch / "fonts"))
    places = environment(root)
    libraries = Path(places["LD_LIBRARY_PATH"])
    found = ":".join(map(str, [libraries, *(libraries / name for name in _PRIVATE_LIBRARIES)]))
    return {**places, "LD_LIBRARY_PATH": found, "FONTCONFIG_FILE": str(fonts)}
