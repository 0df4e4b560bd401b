"""Market data: files and the synthetic market, normalised into one frame, read through one panel.

Owns the normalised frame, its validation, the file readers, the generator and the panel behind the
MarketData port. Must never repair a bad row silently, nor show a decision what was not yet known.
Tests: tests/unit/adapters/market_data, tests/contract/market_data.
"""
