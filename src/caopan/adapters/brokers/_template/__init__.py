"""The adapter to copy for a new broker; tests/contract/broker runs it against a counter made up."""
