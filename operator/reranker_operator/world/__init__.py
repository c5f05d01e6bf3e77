"""What the operator knows when it decides, as plain frozen data. No I/O."""
