"""A decision: its shape, its verdicts, and the stages its cycle passes."""
