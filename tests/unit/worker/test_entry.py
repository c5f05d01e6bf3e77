"""A worker can be told to leave from its first moment."""

import signal
import subprocess
import sys

SLOW_IMPORT = """
import os, sys, types
from reranker_worker import entry
slow = types.ModuleType("reranker_worker.__main__")
slow.__getattr__ = lambda name: os.kill(os.getpid(), {signal})  # the signal comes while `main` is being imported
sys.modules["reranker_worker.__main__"] = slow
entry.main()
"""


def test_a_sigterm_during_the_imports_ends_the_process_by_its_own_handler() -> None:
    # Without the handler the status would be -15, and process 1 of a container would go on.
    script = SLOW_IMPORT.format(signal=int(signal.SIGTERM))
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
