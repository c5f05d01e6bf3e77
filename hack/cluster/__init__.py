"""A real Kubernetes cluster on this machine, or its control plane alone, without Docker.

with running(control_plane_only=True) as kubeconfig:
    ...
"""

from .cluster import Cluster, existing
from .lifecycle import down, running, start, stop, up
from .progress import StepError

__all__ = ["Cluster", "StepError", "down", "existing", "running", "start", "stop", "up"]
