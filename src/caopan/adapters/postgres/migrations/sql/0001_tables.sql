-- Tables of the foundation, exactly as adapters/postgres/tables described them at this revision.
-- Never edited once released: later changes are later revisions.

CREATE TABLE calendar_snapshot (
    snapshot_id BIGINT GENERATED ALWAYS AS IDENTITY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    sessions DATE[] NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_calendar_snapshot PRIMARY KEY (snapshot_id),
    CONSTRAINT ck_calendar_snapshot_sessions CHECK (cardinality(sessions) > 0)
);

CREATE TABLE dataset (
    dataset_id BIGINT GENERATED ALWAYS AS IDENTITY,
    label TEXT NOT NULL,
    source TEXT NOT NULL,
    checksum TEXT NOT NULL,
    synthetic BOOLEAN NOT NULL,
    row_count BIGINT NOT NULL,
    first_day DATE NOT NULL,
    last_day DATE NOT NULL,
    imported_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_dataset PRIMARY KEY (dataset_id),
    CONSTRAINT uq_dataset_checksum UNIQUE (checksum),
    CONSTRAINT ck_dataset_checksum CHECK (length(checksum) = 64 AND checksum ~ '^[0-9a-f]+$'),
    CONSTRAINT ck_dataset_rows CHECK (row_count > 0),
    CONSTRAINT ck_dataset_days CHECK (first_day <= last_day)
);

CREATE TABLE ledger_pruning (
    source TEXT NOT NULL,
    month DATE NOT NULL,
    removed BIGINT NOT NULL,
    pruned_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_ledger_pruning PRIMARY KEY (source, month),
    CONSTRAINT ck_ledger_pruning_month CHECK (month = date_trunc('month', month)),
    CONSTRAINT ck_ledger_pruning_removed CHECK (removed >= 0)
);

CREATE TABLE run (
    run_id BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    account_id TEXT NOT NULL,
    config_hash TEXT NOT NULL,
    config JSON NOT NULL,
    status TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE,
    result JSON,
    CONSTRAINT pk_run PRIMARY KEY (run_id),
    CONSTRAINT ck_run_kind CHECK (kind IN ('desk', 'demo', 'replay')),
    CONSTRAINT ck_run_status CHECK (status IN ('running', 'finished', 'failed')),
    CONSTRAINT ck_run_config_hash CHECK (length(config_hash) = 64 AND config_hash ~ '^[0-9a-f]+$'),
    CONSTRAINT ck_run_account_id CHECK (account_id <> ''),
    CONSTRAINT ck_run_finished CHECK ((status = 'running') = (finished_at IS NULL))
);
CREATE UNIQUE INDEX uq_run_desk ON run (account_id) WHERE kind = 'desk' AND status = 'running';

CREATE TABLE balance (
    run_id BIGINT NOT NULL,
    account TEXT NOT NULL,
    asset TEXT NOT NULL,
    amount NUMERIC(20, 4) NOT NULL,
    CONSTRAINT pk_balance PRIMARY KEY (run_id, account, asset),
    CONSTRAINT fk_balance_run FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT ck_balance_not_zero CHECK (amount <> 0),
    CONSTRAINT ck_balance_whole_shares CHECK (asset = 'CNY' OR amount = trunc(amount)),
    CONSTRAINT ck_balance_not_negative
        CHECK (amount >= 0 OR NOT (account LIKE 'cash.%' OR account LIKE 'shares.%' OR account
            LIKE 'inventory%'))
);

CREATE TABLE bar (
    dataset_id BIGINT NOT NULL,
    symbol TEXT NOT NULL,
    day DATE NOT NULL,
    open NUMERIC(20, 4) NOT NULL,
    high NUMERIC(20, 4) NOT NULL,
    low NUMERIC(20, 4) NOT NULL,
    close NUMERIC(20, 4) NOT NULL,
    pre_close NUMERIC(20, 4) NOT NULL,
    volume BIGINT NOT NULL,
    amount NUMERIC(20, 4),
    limit_up NUMERIC(20, 4),
    limit_down NUMERIC(20, 4),
    is_suspended BOOLEAN NOT NULL,
    is_st BOOLEAN NOT NULL,
    is_ex_date BOOLEAN NOT NULL,
    list_date DATE,
    cash_per_share NUMERIC(20, 4),
    share_factor TEXT,
    turnover_rate DOUBLE PRECISION,
    CONSTRAINT pk_bar PRIMARY KEY (dataset_id, symbol, day),
    CONSTRAINT ck_bar_symbol
        CHECK (length(symbol) = 9 AND right(symbol, 3) IN ('.SH', '.SZ', '.BJ')),
    CONSTRAINT ck_bar_prices
        CHECK (low > 0 AND high >= open AND high >= close AND low <= open AND low <= close),
    CONSTRAINT ck_bar_pre_close CHECK (pre_close > 0),
    CONSTRAINT ck_bar_volume CHECK (volume >= 0 AND (volume = 0 OR NOT is_suspended)),
    CONSTRAINT ck_bar_amount CHECK (amount >= 0),
    CONSTRAINT ck_bar_limits CHECK (limit_down > 0 AND limit_up >= limit_down),
    CONSTRAINT ck_bar_cash_per_share CHECK (cash_per_share >= 0),
    CONSTRAINT ck_bar_share_factor CHECK (share_factor ~ '^[0-9]+(/[1-9][0-9]*)?$'),
    CONSTRAINT ck_bar_turnover_rate CHECK (turnover_rate >= 0)
) PARTITION BY RANGE (day);

CREATE TABLE decision (
    run_id BIGINT NOT NULL,
    decision_id UUID NOT NULL,
    trace_id UUID NOT NULL,
    account_id TEXT NOT NULL,
    trading_day DATE NOT NULL,
    slot TEXT NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    stage TEXT NOT NULL,
    status TEXT NOT NULL,
    status_code TEXT,
    observation_id UUID,
    valid_until TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_decision PRIMARY KEY (run_id, decision_id),
    CONSTRAINT fk_decision_run FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT uq_decision_slot UNIQUE (run_id, trading_day, slot),
    CONSTRAINT ck_decision_stage
        CHECK (stage IN ('opened', 'observed', 'acted', 'checked', 'judged', 'ordered',
            'closed')),
    CONSTRAINT ck_decision_status
        CHECK (status IN ('in_progress', 'executed', 'partially_executed', 'no_op',
            'rejected_checker', 'rejected_risk', 'awaiting_approval', 'expired', 'declined',
            'canceled', 'shadowed', 'failed')),
    CONSTRAINT ck_decision_slot CHECK (slot <> ''),
    CONSTRAINT ck_decision_closed CHECK ((stage = 'closed') = (closed_at IS NOT NULL)),
    CONSTRAINT ck_decision_final CHECK (stage <> 'closed' OR status <> 'in_progress'),
    CONSTRAINT ck_decision_observed
        CHECK (stage IN ('opened', 'closed') OR observation_id IS NOT NULL)
);
CREATE INDEX ix_decision_id ON decision (decision_id);

CREATE TABLE ledger_head (
    run_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL,
    fence BIGINT NOT NULL,
    CONSTRAINT pk_ledger_head PRIMARY KEY (run_id),
    CONSTRAINT fk_ledger_head_run FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT ck_ledger_head_hash CHECK (length(hash) = 64 AND hash ~ '^[0-9a-f]+$'),
    CONSTRAINT ck_ledger_head_genesis
        CHECK (seq >= 0 AND (seq = 0) = (hash =
            '0000000000000000000000000000000000000000000000000000000000000000')),
    CONSTRAINT ck_ledger_head_fence CHECK (fence >= 0)
);

CREATE TABLE ledger_payload (
    run_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    body BYTEA NOT NULL,
    CONSTRAINT pk_ledger_payload PRIMARY KEY (run_id, seq, recorded_at),
    CONSTRAINT ck_ledger_payload_seq CHECK (seq > 0)
) PARTITION BY RANGE (recorded_at);

CREATE TABLE nav_point (
    run_id BIGINT NOT NULL,
    trading_day DATE NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    nav NUMERIC(20, 4) NOT NULL,
    cash_free NUMERIC(20, 4) NOT NULL,
    cash_frozen NUMERIC(20, 4) NOT NULL,
    market_value NUMERIC(20, 4) NOT NULL,
    fees_total NUMERIC(20, 4) NOT NULL,
    realised_total NUMERIC(20, 4) NOT NULL,
    benchmark NUMERIC(20, 4),
    CONSTRAINT pk_nav_point PRIMARY KEY (run_id, trading_day),
    CONSTRAINT fk_nav_point_run FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT ck_nav_point_parts CHECK (cash_free >= 0 AND cash_frozen >= 0 AND market_value >= 0),
    CONSTRAINT ck_nav_point_nav CHECK (nav = cash_free + cash_frozen + market_value),
    CONSTRAINT ck_nav_point_fees_total CHECK (fees_total >= 0),
    CONSTRAINT ck_nav_point_benchmark CHECK (benchmark >= 0)
);

CREATE TABLE sandbox_event (
    run_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    kind TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    body JSON NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_sandbox_event PRIMARY KEY (run_id, seq),
    CONSTRAINT fk_sandbox_event_run FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT ck_sandbox_event_seq CHECK (seq > 0),
    CONSTRAINT ck_sandbox_event_kind CHECK (kind <> '')
);

CREATE TABLE ledger_entry (
    run_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    stage TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    decision_id UUID,
    trace_id UUID,
    payload_hash TEXT NOT NULL,
    prev_hash TEXT NOT NULL,
    hash TEXT NOT NULL,
    CONSTRAINT pk_ledger_entry PRIMARY KEY (run_id, seq, recorded_at),
    CONSTRAINT fk_ledger_entry_run FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT fk_ledger_entry_decision FOREIGN KEY (run_id, decision_id)
        REFERENCES decision (run_id, decision_id),
    CONSTRAINT ck_ledger_entry_stage
        CHECK (stage IN ('observation', 'actor', 'checker', 'risk', 'approval', 'order', 'fill',
            'accounting', 'outcome', 'exit_trigger', 'reconciliation', 'config_change',
            'mode_change', 'operator_action')),
    CONSTRAINT ck_ledger_entry_seq CHECK (seq > 0),
    CONSTRAINT ck_ledger_entry_payload_hash
        CHECK (length(payload_hash) = 64 AND payload_hash ~ '^[0-9a-f]+$'),
    CONSTRAINT ck_ledger_entry_prev_hash
        CHECK (length(prev_hash) = 64 AND prev_hash ~ '^[0-9a-f]+$'),
    CONSTRAINT ck_ledger_entry_hash CHECK (length(hash) = 64 AND hash ~ '^[0-9a-f]+$')
) PARTITION BY RANGE (recorded_at);
CREATE INDEX ix_ledger_entry_decision ON ledger_entry (run_id, decision_id);

CREATE TABLE model_call (
    run_id BIGINT NOT NULL,
    call_id UUID NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    trace_id UUID NOT NULL,
    decision_id UUID NOT NULL,
    role TEXT NOT NULL,
    alias TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    provider TEXT NOT NULL,
    model_asked TEXT NOT NULL,
    model_served TEXT NOT NULL,
    prompt_hash TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    config_version TEXT NOT NULL,
    price_version TEXT,
    request BYTEA NOT NULL,
    response BYTEA NOT NULL,
    tokens_prompt BIGINT,
    tokens_completion BIGINT,
    tokens_reasoning BIGINT,
    tokens_cached BIGINT,
    usage_raw JSON,
    latency_ms BIGINT NOT NULL,
    ttft_ms BIGINT,
    attempt BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    error_code TEXT,
    cost_cny NUMERIC(18, 8),
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_model_call PRIMARY KEY (run_id, call_id, recorded_at),
    CONSTRAINT fk_model_call_decision FOREIGN KEY (run_id, decision_id)
        REFERENCES decision (run_id, decision_id),
    CONSTRAINT ck_model_call_role CHECK (role IN ('actor', 'checker', 'analyst', 'other')),
    CONSTRAINT ck_model_call_outcome CHECK (outcome <> ''),
    CONSTRAINT ck_model_call_prompt_hash
        CHECK (length(prompt_hash) = 64 AND prompt_hash ~ '^[0-9a-f]+$'),
    CONSTRAINT ck_model_call_attempt CHECK (attempt >= 1),
    CONSTRAINT ck_model_call_latency_ms CHECK (latency_ms >= 0),
    CONSTRAINT ck_model_call_ttft_ms CHECK (ttft_ms >= 0),
    CONSTRAINT ck_model_call_tokens
        CHECK (tokens_prompt >= 0 AND tokens_completion >= 0 AND tokens_reasoning >= 0 AND
            tokens_cached >= 0),
    CONSTRAINT ck_model_call_cost_cny CHECK (cost_cny >= 0)
) PARTITION BY RANGE (recorded_at);
CREATE INDEX ix_model_call_decision ON model_call (run_id, decision_id);

CREATE TABLE observation (
    run_id BIGINT NOT NULL,
    observation_id UUID NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    decision_id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    content_hash TEXT NOT NULL,
    body BYTEA NOT NULL,
    CONSTRAINT pk_observation PRIMARY KEY (run_id, observation_id, recorded_at),
    CONSTRAINT fk_observation_decision FOREIGN KEY (run_id, decision_id)
        REFERENCES decision (run_id, decision_id),
    CONSTRAINT uq_observation_content UNIQUE (run_id, content_hash, recorded_at),
    CONSTRAINT ck_observation_content_hash
        CHECK (length(content_hash) = 64 AND content_hash ~ '^[0-9a-f]+$')
) PARTITION BY RANGE (recorded_at);

CREATE TABLE trade_order (
    run_id BIGINT NOT NULL,
    order_id UUID NOT NULL,
    client_order_id TEXT NOT NULL,
    decision_id UUID NOT NULL,
    action_index BIGINT NOT NULL,
    account_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    order_type TEXT NOT NULL,
    price NUMERIC(20, 4) NOT NULL,
    qty BIGINT NOT NULL,
    broker TEXT NOT NULL,
    clearance_id UUID NOT NULL,
    trading_day DATE NOT NULL,
    not_after TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    status TEXT NOT NULL,
    filled_qty BIGINT NOT NULL,
    filled_amount NUMERIC(20, 4) NOT NULL,
    broker_order_id TEXT,
    reject_code TEXT,
    exit_plan_id UUID,
    submitted_at TIMESTAMP WITH TIME ZONE,
    version BIGINT NOT NULL,
    CONSTRAINT pk_trade_order PRIMARY KEY (run_id, order_id),
    CONSTRAINT fk_trade_order_decision FOREIGN KEY (run_id, decision_id)
        REFERENCES decision (run_id, decision_id),
    CONSTRAINT uq_trade_order_client UNIQUE (run_id, client_order_id),
    CONSTRAINT ck_trade_order_side CHECK (side IN ('buy', 'sell')),
    CONSTRAINT ck_trade_order_order_type CHECK (order_type IN ('limit')),
    CONSTRAINT ck_trade_order_status
        CHECK (status IN ('created', 'sending', 'accepted', 'partially_filled', 'filled',
            'rejected', 'pending_cancel', 'canceled', 'expired', 'unknown', 'not_sent')),
    CONSTRAINT ck_trade_order_client_order_id
        CHECK (length(client_order_id) <= 23 AND client_order_id ~ '^[!-~]+$'),
    CONSTRAINT ck_trade_order_action_index CHECK (action_index >= 0),
    CONSTRAINT ck_trade_order_qty CHECK (qty > 0),
    CONSTRAINT ck_trade_order_price CHECK (price > 0),
    CONSTRAINT ck_trade_order_filled_qty CHECK (filled_qty >= 0 AND filled_qty <= qty),
    CONSTRAINT ck_trade_order_filled_amount
        CHECK (filled_amount >= 0 AND (filled_qty = 0) = (filled_amount = 0)),
    CONSTRAINT ck_trade_order_filled CHECK ((status = 'filled') = (filled_qty = qty)),
    CONSTRAINT ck_trade_order_partially CHECK (status <> 'partially_filled' OR filled_qty > 0),
    CONSTRAINT ck_trade_order_unfilled
        CHECK (filled_qty = 0 OR status NOT IN ('created', 'sending', 'rejected', 'not_sent')),
    CONSTRAINT ck_trade_order_submitted CHECK (status <> 'sending' OR submitted_at IS NOT NULL),
    CONSTRAINT ck_trade_order_version CHECK (version >= 1)
);
CREATE INDEX ix_trade_order_day ON trade_order (run_id, trading_day);
CREATE INDEX ix_trade_order_decision ON trade_order (run_id, decision_id);

CREATE TABLE exit_plan (
    run_id BIGINT NOT NULL,
    exit_plan_id UUID NOT NULL,
    order_id UUID NOT NULL,
    decision_id UUID NOT NULL,
    symbol TEXT NOT NULL,
    body JSON NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_exit_plan PRIMARY KEY (run_id, exit_plan_id),
    CONSTRAINT fk_exit_plan_trade_order FOREIGN KEY (run_id, order_id)
        REFERENCES trade_order (run_id, order_id),
    CONSTRAINT fk_exit_plan_decision FOREIGN KEY (run_id, decision_id)
        REFERENCES decision (run_id, decision_id)
);
CREATE INDEX ix_exit_plan_symbol ON exit_plan (run_id, symbol, created_at);

CREATE TABLE fill (
    run_id BIGINT NOT NULL,
    fill_id UUID NOT NULL,
    order_id UUID NOT NULL,
    decision_id UUID NOT NULL,
    broker TEXT NOT NULL,
    broker_fill_id TEXT NOT NULL,
    trading_day DATE NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    qty BIGINT NOT NULL,
    price NUMERIC(20, 4) NOT NULL,
    commission NUMERIC(20, 4) NOT NULL,
    stamp_duty NUMERIC(20, 4) NOT NULL,
    transfer_fee NUMERIC(20, 4) NOT NULL,
    other_fees NUMERIC(20, 4) NOT NULL,
    filled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_fill PRIMARY KEY (run_id, fill_id),
    CONSTRAINT fk_fill_trade_order FOREIGN KEY (run_id, order_id)
        REFERENCES trade_order (run_id, order_id),
    CONSTRAINT uq_fill_venue UNIQUE (run_id, broker, trading_day, broker_fill_id, side),
    CONSTRAINT ck_fill_side CHECK (side IN ('buy', 'sell')),
    CONSTRAINT ck_fill_qty CHECK (qty > 0),
    CONSTRAINT ck_fill_price CHECK (price > 0),
    CONSTRAINT ck_fill_fees
        CHECK (commission >= 0 AND stamp_duty >= 0 AND transfer_fee >= 0 AND other_fees >= 0)
);
CREATE INDEX ix_fill_decision ON fill (run_id, decision_id);
CREATE INDEX ix_fill_order ON fill (run_id, order_id);

CREATE TABLE journal_transaction (
    run_id BIGINT NOT NULL,
    txn_id UUID NOT NULL,
    position BIGINT GENERATED ALWAYS AS IDENTITY,
    kind TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    order_id UUID,
    fill_id UUID,
    memo TEXT NOT NULL,
    CONSTRAINT pk_journal_transaction PRIMARY KEY (run_id, txn_id),
    CONSTRAINT fk_journal_transaction_run FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT fk_journal_transaction_trade_order FOREIGN KEY (run_id, order_id)
        REFERENCES trade_order (run_id, order_id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT fk_journal_transaction_fill FOREIGN KEY (run_id, fill_id)
        REFERENCES fill (run_id, fill_id) DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT ck_journal_transaction_kind
        CHECK (kind IN ('deposit', 'withdrawal', 'freeze', 'release', 'fill',
            'corporate_action'))
);
CREATE UNIQUE INDEX ix_journal_transaction_position ON journal_transaction (run_id, position);

CREATE TABLE journal_posting (
    run_id BIGINT NOT NULL,
    txn_id UUID NOT NULL,
    leg BIGINT NOT NULL,
    account TEXT NOT NULL,
    asset TEXT NOT NULL,
    amount NUMERIC(20, 4) NOT NULL,
    CONSTRAINT pk_journal_posting PRIMARY KEY (run_id, txn_id, leg),
    CONSTRAINT fk_journal_posting_journal_transaction FOREIGN KEY (run_id, txn_id)
        REFERENCES journal_transaction (run_id, txn_id),
    CONSTRAINT ck_journal_posting_leg CHECK (leg >= 0),
    CONSTRAINT ck_journal_posting_account CHECK (account <> ''),
    CONSTRAINT ck_journal_posting_whole_shares CHECK (asset = 'CNY' OR amount = trunc(amount))
);
