"""The demo: a real model on a real cluster, its adapter and revision swapped under load. Standard library only."""
