"""Steps of a forward on CPUs in C of our own, where torch's take longer; each with torch's in its place without it."""
