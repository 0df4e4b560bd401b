"""Words everyone speaks: money, ids, time, errors, canonical JSON.

Owns the vocabulary below every other room. Must never import anything of ours, do I/O or read a
clock. Tests: tests/unit/kernel, tests/property/kernel.
"""
