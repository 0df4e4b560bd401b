"""Observation → actor → checker. Must never import execution: a model has no hands."""
