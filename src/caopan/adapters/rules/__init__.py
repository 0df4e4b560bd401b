"""Exchange rules with dates: the cited data set, and our own rows for what it lacks.

Owns the translation into the domain's tables. Must never decide which rule applies (the domain
does) nor settle a disagreement between two sources. Tests: tests/unit/adapters/rules.
"""
