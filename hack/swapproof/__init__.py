"""The proof of swaps: a fleet on a real node changed at random under load, its history judged afterwards.

Runs in the checks' environment (.venv): transformers and PEFT say which scores are right.
"""
