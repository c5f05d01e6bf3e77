"""Both programs can be told to leave from their first moment."""

import signal
import subprocess
import sys

import pytest

SLOW_IMPORT = """
import os, sys, types
from {package} import entry
slow = types.ModuleType("{package}.__main__")
slow.__getattr__ = lambda name: os.kill(os.getpid(), {signal})  # the signal comes while `main` is being imported
sys.modules["{package}.__main__"] = slow
entry.main()
"""


@pytest.mark.parametrize("package", ["reranker_operator", "reranker_worker"])
def test_a_sigterm_during_the_imports_ends_the_process_by_its_own_handler(package: str) -> None:
    # Without the handler the status would be -15, and process 1 of a container would go on.
    script = SLOW_IMPORT.format(package=package, signal=int(signal.SIGTERM))
    assert subprocess.run([sys.executable, "-c", script], timeout=60, check=False).returncode == 0
