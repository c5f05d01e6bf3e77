"""Both images: built without a Docker daemon or by one, tagged by what they are made of, and loaded into a cluster."""
