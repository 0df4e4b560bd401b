"""The trading calendar: a snapshot of a library's sessions, and our own word where it has none.

Owns the translation into the domain's TradingCalendar. Must never fill an unknown year. Tests:
tests/unit/adapters/calendar.
"""
