"""The doors people and programs come in by; interfaces do not know each other."""
