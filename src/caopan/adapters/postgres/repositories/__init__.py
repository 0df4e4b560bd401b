"""Repositories: domain objects in, domain objects out, one run each.

Owns every statement on the tables of a run. Must never commit (the unit of work does) or hand out
a row. Tests: tests/contract/store.
"""
