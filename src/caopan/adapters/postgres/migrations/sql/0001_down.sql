-- Back to an empty database. Parents take their partitions with them.
DROP TABLE nav_point, balance, journal_posting, journal_transaction, exit_plan, fill, trade_order,
    model_call, observation, ledger_payload, ledger_entry, ledger_head, ledger_pruning, decision,
    sandbox_event, run, bar, dataset, calendar_snapshot;
DROP FUNCTION prune_payloads(date);
DROP FUNCTION ensure_partitions(date, date);
DROP FUNCTION ensure_partitions_of(text, date, date);
DROP FUNCTION make_default_partition(text);
DROP FUNCTION require_dataset();
DROP FUNCTION require_balanced();
DROP FUNCTION keep_head_forward();
DROP FUNCTION guard_append_only(text);
DROP FUNCTION refuse_change();
