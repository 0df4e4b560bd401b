-- The partition functions as the first migration made them.
CREATE OR REPLACE FUNCTION make_default_partition(parent text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE %I PARTITION OF %I DEFAULT', parent || '_default', parent);
    IF parent <> 'bar' THEN
        PERFORM guard_append_only(parent || '_default');
    END IF;
END $$;

CREATE OR REPLACE FUNCTION ensure_partitions_of(parent text, first date, last date) RETURNS integer
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

CREATE OR REPLACE FUNCTION ensure_partitions(first date, last date) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    SELECT sum(ensure_partitions_of(parent, first, last))::integer FROM unnest(ARRAY[
        'observation', 'model_call', 'ledger_entry', 'ledger_payload', 'bar'
    ]) AS parent
$$;

DROP TABLE llm_call, llm_body, models_config, client_key;
DROP FUNCTION guard_partition(text, text);
DROP FUNCTION guard_attempts(text);
DROP FUNCTION complete_once();
