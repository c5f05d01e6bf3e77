"""Brings artifacts from their sources into the cache; knows neither torch nor HTTP serving."""
