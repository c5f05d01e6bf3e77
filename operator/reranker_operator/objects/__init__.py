"""Kubernetes objects as the operator writes and reads them. No I/O."""
