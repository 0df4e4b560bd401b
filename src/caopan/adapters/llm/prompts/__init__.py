"""Versioned prompt texts; a changed text is a new file."""
