"""The hard gate: one rule per file, a rulebook that lists them, and the only mint of Clearance."""
