"""What counters say, in our words: one module a counter, `reading.py` for what they share."""
