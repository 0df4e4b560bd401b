"""From cleared orders to the venue and back; accepts a Clearance only."""
