"""Use cases: async, talking to ports only; the conductor is pipeline.py."""
