"""BM25 of the example of two-stage search: no client, so it has no rows of its own."""

CLIENTS = ()
