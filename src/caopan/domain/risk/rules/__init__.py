"""One rule per file; rulebook.py lists them in the order they are judged."""
