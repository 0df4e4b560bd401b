"""The record of model calls: a spool of files that is the queue, and who brings it to the database.

Owns the spool's folder. Must never know SQL, nor drop a record in silence. Tests:
tests/contract/gateway/test_call_log.py, tests/integration/gateway.
"""
