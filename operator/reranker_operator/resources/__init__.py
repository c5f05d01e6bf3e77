"""The custom resources as pydantic models: what users may write, and the CRDs made from it. No I/O."""
