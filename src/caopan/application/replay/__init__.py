"""History through the very same chain, with a clock that history sets."""
