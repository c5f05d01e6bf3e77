"""What clients and the operator reach over HTTP: routes, dialects, bounds, connections. No torch."""
