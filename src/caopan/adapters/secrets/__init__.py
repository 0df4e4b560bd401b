"""Secrets by reference: from the environment, from a file, or sealed in CAOPAN_HOME."""
