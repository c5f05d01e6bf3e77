"""The Python environments of the client libraries: pinned, kept in the user's cache, made anew when a pin changes."""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hack.cluster.paths import build_log, build_once, cache_home
from hack.cluster.progress import run_logged

REQUIREMENTS = Path(__file__).parent / "requirements"
_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


@dataclass(frozen=True)
class Environment:
    """A set of libraries that can be installed together, and the modules of tests/clients/bindings that use them.

    `<name>.txt` is the whole of it; `<name>.no-deps.txt`, where there is one, lists what is installed in spite of
    requirements of its own that nobody can meet.
    """

    name: str
    python: str
    bindings: tuple[str, ...]

    @property
    def files(self) -> list[Path]:
        """Return the requirement files."""
        return [path for path in (self._file(""), self._file(".no-deps")) if path.is_file()]

    def key(self) -> str:
        """Return the hash of what makes the environment."""
        content = "\n".join([self.python, *(path.read_text() for path in self.files)])
        return hashlib.sha256(content.encode()).hexdigest()[:8]

    def _file(self, suffix: str) -> Path:
        return REQUIREMENTS / f"{self.name}{suffix}.txt"


# cohere's releases 5 and 7 part the world: langchain-cohere wants the one, cohere-haystack the other.
ENVIRONMENTS = (
    Environment("current", "3.11", ("cohere_sdk", "infinity", "listings", "search")),
    Environment("cohere5", "3.12", ("cohere_sdk", "langchain", "llama_index", "sie")),
    Environment("voyage", "3.11", ("voyage",)),
    Environment("haystack", "3.12", ("haystack", "sie_haystack")),
)


def find_python(version: str) -> Path | None:
    """Return an interpreter of this version that runs: from PATH, or one that pyenv keeps."""
    return next((path for path in _candidates(version) if _runs(path, version)), None)


def ready(environment: Environment, python: Path) -> Path:
    """Return the interpreter of the environment, made where it isn't yet."""

    def install(folder: Path) -> None:
        pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install"]
        commands: list[list[str | Path]] = [[python, "-m", "venv", folder]]
        for file in environment.files:
            no_deps = ["--no-deps"] if ".no-deps" in file.name else []
            # What is never imported needs no bytecode: compiling everything takes longer than the downloads.
            commands.append([*pip, "--no-compile", *no_deps, f"--requirement={file}"])
        for number, argv in enumerate(commands):
            log = build_log(f"clients-{environment.name}-{number}")
            run_logged(f"installing the clients of {environment.name}", argv, log=log)

    folder = build_once(cache_home() / f"clients-{environment.name}-{environment.key()}", install)
    return folder / "bin" / "python"


def _candidates(version: str) -> Iterator[Path]:
    found = shutil.which(f"python{version}")
    if found:
        yield Path(found)
    yield from sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))


def _runs(python: Path, version: str) -> bool:
    # pyenv's shims exist for versions that aren't chosen, and then fail.
    asked = subprocess.run([python, "-c", _VERSION], capture_output=True, text=True, check=False)
    return asked.returncode == 0 and asked.stdout.strip() == version
