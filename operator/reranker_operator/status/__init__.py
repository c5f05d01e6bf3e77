"""What is told of a fleet: status, conditions, Events. No I/O."""
