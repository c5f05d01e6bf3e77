"""Prometheus' own judgement of rules and expressions: its promtool, and its parser by a program of ours."""
