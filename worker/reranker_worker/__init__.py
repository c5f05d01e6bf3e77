"""Scoring server for rerankers: a serving manifest and HTTP requests in, scores out."""
