"""Kubernetes operator for rerankers: RerankerModel resources in, worker Deployments out."""
