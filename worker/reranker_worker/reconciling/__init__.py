"""From the serving manifest to what the engine serves: what is wanted, what there is, what is done next. No torch."""
