"""Deterministic traders that answer as a model would. They are not language models."""
