-- Refused by the older rules, whole, while an order or a decision is there that they cannot hold:
-- nothing recorded is dropped to go back.
ALTER TABLE trade_order
    DROP CONSTRAINT ck_trade_order_order_type,
    DROP CONSTRAINT ck_trade_order_price,
    DROP COLUMN fence,
    ADD CONSTRAINT ck_trade_order_order_type CHECK (order_type IN ('limit')),
    ADD CONSTRAINT ck_trade_order_price CHECK (price > 0);
ALTER TABLE decision
    DROP CONSTRAINT ck_decision_observed,
    DROP COLUMN origin,
    ADD CONSTRAINT ck_decision_observed
        CHECK (stage IN ('opened', 'closed') OR observation_id IS NOT NULL);
DROP TABLE control, system_control, reconciliation;
