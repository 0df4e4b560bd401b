"""Shipped test doubles: seeded loop, misbehaving venues, scripted models, in-memory store."""
