"""What the operator's metrics say of its writes. No I/O."""

import re

WRITE = re.compile(
    r'^reranker_operator_api_requests_total\{[^}]*method="(?:PATCH|PUT|POST|DELETE)"[^}]*\} (\S+)$', re.MULTILINE
)


def writes(metrics: str) -> int:
    """Return how many writes the operator has sent since it started; ValueError where its metrics name none."""
    counts = [float(count) for count in WRITE.findall(metrics)]
    if not counts:
        raise ValueError("the operator's metrics name no write")
    return int(sum(counts))
