"""The kill switch: a file, two database rows and an in-process latch, one level in force.

Owns reading and writing the flags. Must never need the event loop, Redis, a model or the API, nor
take what it could not read for permission. Tests: tests/unit/adapters/kill_switch,
tests/integration/kill_switch, bench/kill_switch.py.
"""
