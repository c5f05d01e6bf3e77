"""A cluster in simulated seconds, in which the operator's and the worker's own decisions meet. No I/O, no clock.

Simulated are the API server (`cluster`), the Deployment's controller (`deployments`), a pod's node and loads (`pods`,
`sources`) and what trials find (`judge`). `simulation` runs them side by side, `edits` makes up what users do to them
and `accidents` what befalls them, and `invariants` says what must hold whatever that is.
"""
