"""Which model endpoint answers a call, when one is left alone, and what a call costs. Pure."""
