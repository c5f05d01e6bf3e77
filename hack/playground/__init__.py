"""The playground page in a real browser: for its tests, and for its picture in the docs."""
