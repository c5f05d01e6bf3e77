"""What a run on a real cluster needs: the cluster, the operator's release, models on a claim, a pod that sends load.

Standard library only. `load.py` is the exception: it runs in a pod of the operator's image, which has aiohttp.
"""
