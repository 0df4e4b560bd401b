"""Orders: their shape, their states, their fills."""
