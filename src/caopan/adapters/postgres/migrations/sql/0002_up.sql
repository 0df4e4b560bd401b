-- Order types as the exchanges have them; a market order bids no price.
ALTER TABLE trade_order
    DROP CONSTRAINT ck_trade_order_order_type,
    DROP CONSTRAINT ck_trade_order_price,
    ADD COLUMN fence BIGINT,
    ADD CONSTRAINT ck_trade_order_order_type CHECK (order_type IN ('limit', 'market_best5_cancel', 'market_best5_limit',
        'market_peer_best', 'market_own_best', 'market_ioc', 'market_fok', 'after_hours_fixed')),
    ADD CONSTRAINT ck_trade_order_price
        CHECK (price > 0 OR (price = 0 AND left(order_type, 7) = 'market_')),
    ADD CONSTRAINT ck_trade_order_fence CHECK (fence > 0);

-- Every decision so far was a model's.
ALTER TABLE decision
    DROP CONSTRAINT ck_decision_observed,
    ADD COLUMN origin TEXT NOT NULL DEFAULT 'model',
    ADD CONSTRAINT ck_decision_origin CHECK (origin IN ('model', 'operator', 'foreign')),
    ADD CONSTRAINT ck_decision_observed CHECK (stage IN ('opened', 'closed')
        OR observation_id IS NOT NULL OR origin <> 'model');
ALTER TABLE decision ALTER COLUMN origin DROP DEFAULT;

CREATE TABLE control (
    run_id BIGINT NOT NULL,
    version BIGINT NOT NULL,
    level BIGINT NOT NULL,
    posture TEXT NOT NULL,
    reason TEXT NOT NULL,
    set_by TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_control PRIMARY KEY (run_id, version),
    CONSTRAINT fk_control_run FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT ck_control_version CHECK (version >= 1),
    CONSTRAINT ck_control_level CHECK (level >= 0 AND level <= 3),
    CONSTRAINT ck_control_posture CHECK (posture IN ('normal', 'cautious', 'flat_only')),
    CONSTRAINT ck_control_reason CHECK (reason <> ''),
    CONSTRAINT ck_control_set_by CHECK (set_by <> '')
);

CREATE TABLE system_control (
    version BIGINT NOT NULL,
    level BIGINT NOT NULL,
    posture TEXT NOT NULL,
    reason TEXT NOT NULL,
    set_by TEXT NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_system_control PRIMARY KEY (version),
    CONSTRAINT ck_system_control_version CHECK (version >= 1),
    CONSTRAINT ck_system_control_level CHECK (level >= 0 AND level <= 3),
    CONSTRAINT ck_system_control_posture CHECK (posture IN ('normal', 'cautious', 'flat_only')),
    CONSTRAINT ck_system_control_reason CHECK (reason <> ''),
    CONSTRAINT ck_system_control_set_by CHECK (set_by <> '')
);

CREATE TABLE reconciliation (
    run_id BIGINT NOT NULL,
    reconciliation_id UUID NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    trading_day DATE NOT NULL,
    cause TEXT NOT NULL,
    passed BOOLEAN NOT NULL,
    differences JSON NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_reconciliation PRIMARY KEY (run_id, reconciliation_id),
    CONSTRAINT fk_reconciliation_run FOREIGN KEY (run_id) REFERENCES run (run_id),
    CONSTRAINT ck_reconciliation_cause
        CHECK (cause IN ('start', 'reconnect', 'interval', 'close', 'request'))
);
CREATE INDEX ix_reconciliation_at ON reconciliation (run_id, at);

SELECT guard_append_only(name)
FROM unnest(ARRAY['control', 'system_control', 'reconciliation']) AS name;
