"""What a fleet should be, and which writes lead there. No I/O."""
