"""The tamper-evident decision ledger: entries, their chain, and the verifier."""
