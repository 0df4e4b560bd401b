"""Venues: one folder each. Only bootstrap may import a concrete one."""
