"""Model vendors as real HTTP servers on loopback, written from what the vendors document."""
