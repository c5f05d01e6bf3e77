"""The demo: a real model served on a real cluster, its adapter and revision swapped under load. Standard library only.

`load.py` is the exception: it runs inside the cluster, in the operator's image, which has aiohttp.
"""
