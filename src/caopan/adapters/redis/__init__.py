"""What gateway processes share by Valkey: limits and budgets, news, tokens.

Owns every key below its prefix. Nothing there is the only copy of anything: each process knows what
it took, the database what was spent. Must never be waited for longer than a moment. Tests:
tests/contract/gateway, tests/integration/gateway.
"""
