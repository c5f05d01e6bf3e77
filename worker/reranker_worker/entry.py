"""The first code of the process: it can be told to leave while the imports, which take seconds, are still going on.

In a container it is process 1, for which the kernel drops every signal that has no handler: a SIGTERM that came during
the imports would be lost, and the pod would stay until its grace period ends.
"""

import os
import signal

from reranker_worker.collecting import uncollected


def main() -> None:
    """Run the command line, leaving at once on a SIGTERM that comes before the command takes the signal over."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    with uncollected():
        from reranker_worker.__main__ import main as run  # noqa: PLC0415 — the handler comes first

    run()
