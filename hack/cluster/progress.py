"""Progress lines with the time since the start, and commands whose output goes to a log file."""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

STARTED = time.monotonic()
TAIL_LINES = 8


class StepError(Exception):
    """A step failed; the message says which, why, and where its log is."""


def say(message: str) -> None:
    """Print one progress line to standard error; standard output is for what programs read."""
    print(f"[{time.monotonic() - STARTED:3.0f}s] {message}", file=sys.stderr, flush=True)


@contextmanager
def step(done: str, *, doing: str = "") -> Iterator[None]:
    """Say `doing` at the start where it takes long, and `done` with the time that it took."""
    if doing:
        say(doing)
    begun = time.monotonic()
    yield
    say(f"{done} ({duration(time.monotonic() - begun)})")


def duration(seconds: float) -> str:
    """Return seconds as people write them: 0.4s, 12s, 3m01s."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def run_logged(
    what: str, argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a command with its output in `log`; raise StepError with the log's end when it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        result = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=env, cwd=cwd, check=False
        )
    if result.returncode:
        raise StepError(f"{what} failed (exit status {result.returncode}); its log is {log}, which ends:\n{tail(log)}")


def output_of(
    what: str,
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    text: str = "",
) -> str:
    """Return a command's standard output; raise StepError with its standard error when it fails."""
    result = subprocess.run(argv, input=text, capture_output=True, text=True, env=env, cwd=cwd, check=False)
    if result.returncode:
        raise StepError(f"{what} failed (exit status {result.returncode}): {result.stderr.strip()}")
    return result.stdout


def tail(log: Path) -> str:
    """Return the last lines of a log, indented."""
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return "\n".join(f"    {line}" for line in lines)
