"""`make clients`: the real client libraries, each in its own environment, against a model that is served."""
