"""Instruments, calendar, phases and the exchanges' dated rules, as pure functions over tables."""
