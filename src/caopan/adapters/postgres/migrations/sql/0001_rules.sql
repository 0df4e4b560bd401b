-- Rules over several rows: append-only tables, balanced transactions, a head that only moves
-- forward, monthly partitions and their retention.

-- Compressed bodies are compressed already.
ALTER TABLE observation ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE model_call ALTER COLUMN request SET STORAGE EXTERNAL;
ALTER TABLE model_call ALTER COLUMN response SET STORAGE EXTERNAL;
ALTER TABLE ledger_payload ALTER COLUMN body SET STORAGE EXTERNAL;

-- Append-only ---------------------------------------------------------------------------------

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only: % is refused', TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'Corrections are new rows; old payloads are removed by prune_payloads() only.';
END $$;

-- Statement triggers are not inherited by partitions, so each table and partition gets its own;
-- they refuse even a statement that meets no row. The owner loses the privileges too, because the
-- product may run as the owner.
CREATE FUNCTION guard_append_only(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER refuse_statement BEFORE UPDATE OR DELETE OR TRUNCATE ON %I'
                   ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', name);
    EXECUTE format('REVOKE UPDATE, DELETE, TRUNCATE ON %I FROM PUBLIC, CURRENT_USER', name);
END $$;

-- Row triggers are inherited by every partition, present and future.
CREATE TRIGGER refuse_row BEFORE UPDATE OR DELETE ON observation
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_row BEFORE UPDATE OR DELETE ON model_call
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_row BEFORE UPDATE OR DELETE ON ledger_entry
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_row BEFORE UPDATE OR DELETE ON ledger_payload
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

SELECT guard_append_only(name) FROM unnest(ARRAY[
    'observation', 'model_call', 'ledger_entry', 'ledger_payload', 'ledger_pruning',
    'sandbox_event', 'journal_posting', 'exit_plan', 'nav_point', 'calendar_snapshot', 'dataset'
]) AS name;

-- These two are referenced by foreign keys, whose checks lock the row with the owner's UPDATE
-- privilege, so they are guarded by triggers alone.
CREATE TRIGGER refuse_statement BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_transaction
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_statement BEFORE UPDATE OR DELETE OR TRUNCATE ON fill
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE FUNCTION keep_head_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'UPDATE' THEN
        RAISE EXCEPTION 'ledger_head moves forward only: % is refused', TG_OP
            USING ERRCODE = 'restrict_violation';
    ELSIF NEW.run_id <> OLD.run_id OR NEW.fence < OLD.fence OR NEW.seq < OLD.seq
        OR (NEW.seq = OLD.seq AND NEW.hash <> OLD.hash) THEN
        RAISE EXCEPTION 'ledger_head moves forward only: % to % is refused', OLD.seq, NEW.seq
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER keep_forward BEFORE UPDATE ON ledger_head
    FOR EACH ROW EXECUTE FUNCTION keep_head_forward();
CREATE TRIGGER keep_rows BEFORE DELETE OR TRUNCATE ON ledger_head
    FOR EACH STATEMENT EXECUTE FUNCTION keep_head_forward();

-- Balanced transactions -----------------------------------------------------------------------

-- Its plan is kept for the session; made while the table was small it would read the whole table.
CREATE FUNCTION require_balanced() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    bad record;
BEGIN
    SELECT asset, sum(amount) AS total INTO bad FROM journal_posting
    WHERE run_id = NEW.run_id AND txn_id = NEW.txn_id
    GROUP BY asset HAVING sum(amount) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'transaction % of run %: % sums to %, not 0',
            NEW.txn_id, NEW.run_id, bad.asset, bad.total
            USING ERRCODE = 'check_violation', TABLE = 'journal_transaction',
                  CONSTRAINT = 'journal_transaction_balanced';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER journal_transaction_balanced AFTER INSERT ON journal_posting
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION require_balanced();

-- Bars ----------------------------------------------------------------------------------------

-- A foreign key is checked row by row and doubled the time of an import; this asks once per
-- statement, and data sets cannot be deleted.
CREATE FUNCTION require_dataset() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    lost bigint;
BEGIN
    SELECT fresh.dataset_id INTO lost FROM fresh
    WHERE NOT EXISTS (SELECT FROM dataset WHERE dataset.dataset_id = fresh.dataset_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'bars of data set %, which does not exist', lost
            USING ERRCODE = 'foreign_key_violation', TABLE = 'bar',
                  CONSTRAINT = 'bar_has_dataset';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER bar_has_dataset AFTER INSERT ON bar
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION require_dataset();

-- Monthly partitions --------------------------------------------------------------------------

-- Every partitioned table has a DEFAULT partition, so that a row is never refused for want of a
-- month. Rows that fell into it are moved out when their month is made.
CREATE FUNCTION make_default_partition(parent text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', parent || '_default', parent);
    IF parent <> 'bar' THEN
        PERFORM guard_append_only(parent || '_default');
    END IF;
END $$;

CREATE FUNCTION ensure_partitions_of(parent text, first date, last date) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    part_key text := CASE parent WHEN 'bar' THEN 'day' ELSE 'recorded_at' END;
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
        IF parent <> 'bar' THEN
            PERFORM guard_append_only(part);
        END IF;
        made := made + 1;
    END LOOP;
    IF moved THEN
        EXECUTE format('INSERT INTO %I SELECT * FROM %I', parent, overflow);
        EXECUTE format('DROP TABLE %I', overflow);
    END IF;
    RETURN made;
END $$;
COMMENT ON FUNCTION ensure_partitions_of(text, date, date) IS
    'Makes the missing monthly partitions of one table from first to last; returns how many.';

CREATE FUNCTION ensure_partitions(first date, last date) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT sum(ensure_partitions_of(parent, first, last))::integer FROM unnest(ARRAY[
        'observation', 'model_call', 'ledger_entry', 'ledger_payload', 'bar'
    ]) AS parent
$$;
COMMENT ON FUNCTION ensure_partitions(date, date) IS
    'Makes the missing monthly partitions of every partitioned table from first to last.';

-- Retention -----------------------------------------------------------------------------------

CREATE FUNCTION prune_payloads(before date) RETURNS bigint
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    kept_from date := date_trunc('month', least(before, (now() AT TIME ZONE 'UTC')::date));
    victim record;
    rows_gone bigint;
    total bigint := 0;
BEGIN
    FOR victim IN
        SELECT p.relname AS parent, c.relname AS part,
               to_date(right(c.relname, 6), 'YYYYMM') AS month
        FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhrelid
        JOIN pg_class p ON p.oid = i.inhparent
        WHERE i.inhparent IN ('ledger_payload'::regclass, 'observation'::regclass)
            AND c.relname ~ '_p[0-9]{6}$'
        ORDER BY c.relname
    LOOP
        CONTINUE WHEN victim.month >= kept_from;
        EXECUTE format('SELECT count(*) FROM %I', victim.part) INTO rows_gone;
        INSERT INTO ledger_pruning (source, month, removed)
        VALUES (victim.parent, victim.month, rows_gone) ON CONFLICT DO NOTHING;
        EXECUTE format('DROP TABLE %I', victim.part);
        total := total + rows_gone;
    END LOOP;
    RETURN total;
END $$;
REVOKE EXECUTE ON FUNCTION prune_payloads(date) FROM PUBLIC;
COMMENT ON FUNCTION prune_payloads(date) IS
    'Retention: drops the payloads (ledger_payload, observation) of every month that ended before'
    ' the month of the given day, never the current month, and records each in ledger_pruning.'
    ' Entries stay; verification then reports those payloads as pruned.';

SELECT make_default_partition(parent) FROM unnest(ARRAY[
    'observation', 'model_call', 'ledger_entry', 'ledger_payload', 'bar'
]) AS parent;
