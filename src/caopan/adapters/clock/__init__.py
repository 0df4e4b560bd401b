"""The system clock, the only place that reads it."""
