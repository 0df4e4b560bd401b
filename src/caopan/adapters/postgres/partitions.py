"""Monthly partitions: made ahead of time, dropped by retention.

Owns which tables are partitioned and the calls of the SQL functions that make and drop partitions
(they are part of the migrations). Must never delete a row: retention drops whole months of
payloads and leaves a record of it, entries stay for ever; bodies of the gateway's calls are
cleared by call_history.py.
"""

from __future__ import annotations

from typing import Final, LiteralString

PARTITIONED: Final = (
    "observation",
    "model_call",
    "ledger_entry",
    "ledger_payload",
    "bar",
    "llm_call",
    "llm_body",
)

ENSURE_AHEAD: LiteralString = (
    "SELECT ensure_partitions(current_date, (current_date + interval '3 months')::date)"
)
"""Makes the partitions of this month and the next three; changes nothing where they exist."""

ENSURE_BARS: Final = "SELECT ensure_partitions_of('bar', %(first)s, %(last)s)"
"""Makes the partitions of `bar` for the months from `first` to `last`."""

PRUNE: Final = "SELECT prune_payloads(%(before)s)"
"""Drops the payload partitions (ledger_payload, observation) of months that ended before."""
