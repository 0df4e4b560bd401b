"""Caopan (操盘): an LLM-first trading desk for China A-shares.

Owns the version and nothing else. Must stay free of imports: every command pays for them.
"""

__version__ = "0.1.0"
