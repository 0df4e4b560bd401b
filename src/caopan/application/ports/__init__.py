"""Ports: what the use cases need of the outside, as protocols. Adapters implement them."""
