"""Double-entry books: journal, lots, fees."""
