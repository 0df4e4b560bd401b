"""The pure core: no I/O, no framework, no clock, no randomness."""
