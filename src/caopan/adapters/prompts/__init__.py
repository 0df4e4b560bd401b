"""Prompt templates on files, rendered in a sandbox."""
