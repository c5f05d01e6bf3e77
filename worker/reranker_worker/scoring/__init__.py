"""From a request's texts to its scores: tokens, the queue, batches, the device's thread."""
