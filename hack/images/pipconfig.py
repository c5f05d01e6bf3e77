"""The machine's pip configuration as one file, which a build mounts and no image keeps."""

import configparser
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Paths of this machine, which mean nothing in a build; `cert` becomes the mounted bundle.
LOCAL_OPTIONS = frozenset({"cache-dir", "cert", "config-file", "find-links", "log", "require-virtualenv", "target"})


def configuration_files() -> list[Path]:
    """Return where pip keeps its configuration, the weakest first."""
    home = Path.home()
    user = [home / ".pip/pip.conf", Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf"]
    named = [Path(os.environ["PIP_CONFIG_FILE"])] if os.environ.get("PIP_CONFIG_FILE") else []
    return [Path("/etc/pip.conf"), *user, *named]


def merged(files: Iterable[str], environment: Mapping[str, str]) -> str:
    """Return one pip.conf from the texts of several and from PIP_… variables, which win."""
    parser = configparser.RawConfigParser()
    for text in files:
        parser.read_string(text)
    options = dict(parser["global"]) if parser.has_section("global") else {}
    for name, value in environment.items():
        if name.startswith("PIP_") and value:
            options[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    options = {name: value for name, value in options.items() if name not in LOCAL_OPTIONS}
    options["cert"] = str(CERTIFICATES)
    lines = (f"{name} = {value.replace(chr(10), chr(10) + '    ')}" for name, value in sorted(options.items()))
    return "[global]\n" + "".join(f"{line}\n" for line in lines)


def write(path: Path) -> None:
    """Write the machine's pip configuration to a file that only this user can read: it may hold a password."""
    path.touch(mode=0o600)
    path.write_text(merged((file.read_text() for file in configuration_files() if file.is_file()), os.environ))
