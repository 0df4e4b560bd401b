-- One row an attempt: written when it begins, completed once when it ends.
CREATE TABLE llm_call (
    call_id UUID NOT NULL,
    attempt BIGINT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    process TEXT NOT NULL,
    trace_id TEXT NOT NULL,
    decision_id TEXT,
    role TEXT NOT NULL,
    client TEXT NOT NULL,
    path TEXT NOT NULL,
    alias TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    provider TEXT NOT NULL,
    model_asked TEXT NOT NULL,
    model_served TEXT,
    prompt_hash TEXT NOT NULL,
    prompt_version TEXT NOT NULL,
    config_version BIGINT NOT NULL,
    price_version TEXT,
    stream BOOLEAN NOT NULL,
    adapted TEXT[] NOT NULL,
    scopes TEXT[] NOT NULL,
    claimed_cny NUMERIC(18, 8) NOT NULL,
    charged_cny NUMERIC(18, 8) NOT NULL,
    cost_cny NUMERIC(18, 8),
    tokens_prompt BIGINT,
    tokens_completion BIGINT,
    tokens_cached BIGINT,
    tokens_reasoning BIGINT,
    tokens_estimated BOOLEAN,
    usage_raw JSON,
    status BIGINT,
    outcome TEXT,
    error_code TEXT,
    detail TEXT,
    quality TEXT,
    breaker TEXT,
    ttft_ms BIGINT,
    latency_ms BIGINT,
    overhead_ms DOUBLE PRECISION,
    CONSTRAINT pk_llm_call PRIMARY KEY (call_id, attempt, began_at),
    CONSTRAINT ck_llm_call_attempt CHECK (attempt >= 0),
    CONSTRAINT ck_llm_call_role CHECK (role IN ('actor', 'checker', 'analyst', 'other')),
    CONSTRAINT ck_llm_call_path CHECK (path IN ('chat/completions', 'embeddings')),
    CONSTRAINT ck_llm_call_prompt_hash CHECK (prompt_hash = ''
        OR (length(prompt_hash) = 64 AND prompt_hash ~ '^[0-9a-f]+$')),
    CONSTRAINT ck_llm_call_outcome
        CHECK (outcome IN ('ok', 'failed', 'truncated', 'canceled', 'refused', 'lost')),
    CONSTRAINT ck_llm_call_ended CHECK ((outcome IS NULL) = (ended_at IS NULL)),
    CONSTRAINT ck_llm_call_latency_ms CHECK (latency_ms >= 0),
    CONSTRAINT ck_llm_call_ttft_ms CHECK (ttft_ms >= 0),
    CONSTRAINT ck_llm_call_overhead_ms CHECK (overhead_ms >= 0),
    CONSTRAINT ck_llm_call_tokens
        CHECK (tokens_prompt >= 0 AND tokens_completion >= 0 AND tokens_reasoning >= 0 AND
            tokens_cached >= 0),
    CONSTRAINT ck_llm_call_money
        CHECK (claimed_cny >= 0 AND charged_cny >= 0 AND cost_cny >= 0),
    CONSTRAINT ck_llm_call_status CHECK (status >= 100 AND status <= 599),
    CONSTRAINT ck_llm_call_quality CHECK (quality IN ('invalid_json', 'blank'))
) PARTITION BY RANGE (began_at);
CREATE INDEX ix_llm_call_began ON llm_call (began_at, call_id, attempt);
CREATE INDEX ix_llm_call_decision ON llm_call (decision_id, began_at)
    WHERE decision_id IS NOT NULL;
CREATE INDEX ix_llm_call_endpoint ON llm_call (endpoint, began_at);
CREATE INDEX ix_llm_call_prompt ON llm_call (prompt_hash, began_at);

CREATE TABLE llm_body (
    call_id UUID NOT NULL,
    attempt BIGINT NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    request BYTEA,
    response BYTEA,
    CONSTRAINT pk_llm_body PRIMARY KEY (call_id, attempt, began_at)
) PARTITION BY RANGE (began_at);
CREATE INDEX ix_llm_body_began ON llm_body (began_at);
-- Compressed bodies are compressed already.
ALTER TABLE llm_body ALTER COLUMN request SET STORAGE EXTERNAL;
ALTER TABLE llm_body ALTER COLUMN response SET STORAGE EXTERNAL;

CREATE TABLE models_config (
    version BIGINT NOT NULL,
    body JSON NOT NULL,
    author TEXT NOT NULL,
    note TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    recorded_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_models_config PRIMARY KEY (version),
    CONSTRAINT ck_models_config_version CHECK (version >= 1),
    CONSTRAINT ck_models_config_author CHECK (author <> '')
);
SELECT guard_append_only('models_config');

CREATE TABLE client_key (
    client_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    aliases TEXT[] NOT NULL,
    admin BOOLEAN NOT NULL,
    daily_budget_cny NUMERIC(18, 8),
    rpm BIGINT,
    expires_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_client_key PRIMARY KEY (client_id),
    CONSTRAINT uq_client_key_digest UNIQUE (digest),
    CONSTRAINT uq_client_key_name UNIQUE (name),
    CONSTRAINT ck_client_key_digest CHECK (length(digest) = 64 AND digest ~ '^[0-9a-f]+$'),
    CONSTRAINT ck_client_key_client_id CHECK (client_id <> ''),
    CONSTRAINT ck_client_key_name CHECK (name <> ''),
    CONSTRAINT ck_client_key_daily_budget_cny CHECK (daily_budget_cny >= 0),
    CONSTRAINT ck_client_key_rpm CHECK (rpm >= 0)
);

-- An attempt's row is completed once; what is recorded of it stays.
CREATE FUNCTION complete_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.outcome IS NULL AND NEW.outcome IS NOT NULL THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'llm_call: attempt % of % is recorded, it is not changed',
            OLD.attempt, OLD.call_id
        USING ERRCODE = 'restrict_violation',
              HINT = 'An attempt is completed once; only its bodies are cleared, by retention.';
END $$;
CREATE TRIGGER complete_once BEFORE UPDATE ON llm_call
    FOR EACH ROW EXECUTE FUNCTION complete_once();

-- As guard_append_only, but that a row may be completed.
CREATE FUNCTION guard_attempts(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_statement BEFORE DELETE OR TRUNCATE ON %I'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('REVOKE DELETE, TRUNCATE ON %I FROM PUBLIC, CURRENT_USER', name);
END $$;
SELECT guard_attempts('llm_call');

-- Partitions -------------------------------------------------------------------------------------

CREATE FUNCTION guard_partition(parent text, part text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF parent = 'llm_call' THEN
        PERFORM guard_attempts(part);
    ELSIF parent NOT IN ('bar', 'llm_body') THEN
        PERFORM guard_append_only(part);
    END IF;
END $$;

CREATE OR REPLACE FUNCTION make_default_partition(parent text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', parent || '_default', parent);
    PERFORM guard_partition(parent, parent || '_default');
END $$;

CREATE OR REPLACE FUNCTION ensure_partitions_of(parent text, first date, last date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    part_key text := CASE parent WHEN 'bar' THEN 'day' WHEN 'llm_call' THEN 'began_at'
        WHEN 'llm_body' THEN 'began_at' ELSE 'recorded_at' END;
    zone text := CASE parent WHEN 'bar' THEN '' ELSE ' 00:00:00+00' END;
    spare text := parent || '_default';
    overflow text := parent || '_overflow';
    month date;
    low text;
    high text;
    part text;
    held boolean;
    moved boolean := false;
    made integer := 0;
BEGIN
    FOR month IN SELECT generate_series(
        date_trunc('month', first::timestamp), date_trunc('month', last::timestamp), '1 month')
    LOOP
        part := parent || '_p' || to_char(month, 'YYYYMM');
        CONTINUE WHEN to_regclass(quote_ident(part)) IS NOT NULL;
        IF made = 0 THEN
            PERFORM pg_advisory_xact_lock(hashtext('caopan.partitions'));
            CONTINUE WHEN to_regclass(quote_ident(part)) IS NOT NULL;
        END IF;
        low := to_char(month, 'YYYY-MM-DD') || zone;
        high := to_char(month + interval '1 month', 'YYYY-MM-DD') || zone;
        EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE %I >= %L AND %I < %L)',
                       spare, part_key, low, part_key, high) INTO held;
        IF held AND NOT moved THEN
            -- A fresh DEFAULT takes its place; the old one's rows are filed again below.
            EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, spare);
            EXECUTE format('ALTER TABLE %I RENAME TO %I', spare, overflow);
            PERFORM make_default_partition(parent);
            moved := true;
        END IF;
        EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                       part, parent, low, high);
        PERFORM guard_partition(parent, part);
        made := made + 1;
    END LOOP;
    IF moved THEN
        EXECUTE format('INSERT INTO %I SELECT * FROM %I', parent, overflow);
        EXECUTE format('DROP TABLE %I', overflow);
    END IF;
    RETURN made;
END $$;

CREATE OR REPLACE FUNCTION ensure_partitions(first date, last date) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT sum(ensure_partitions_of(parent, first, last))::integer FROM unnest(ARRAY[
        'observation', 'model_call', 'ledger_entry', 'ledger_payload', 'bar', 'llm_call', 'llm_body'
    ]) AS parent
$$;

SELECT make_default_partition(parent) FROM unnest(ARRAY['llm_call', 'llm_body']) AS parent;
