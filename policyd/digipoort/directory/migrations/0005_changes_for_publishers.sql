-- Publishers read from the change log what to publish, instead of the whole directory; the columns granted hold no secret.
GRANT SELECT (id, object, before, after) ON change_log TO digipoort_read;

-- A truncation has no rows to tell of: an entry without contents means that anything may have gone.
CREATE FUNCTION write_truncation_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change_log (actor, object)
    VALUES (coalesce(nullif(current_setting('digipoort.actor', true), ''), session_user::text), TG_TABLE_NAME);
    RETURN NULL;
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['party', 'flow', 'destination', 'target', 'address', 'connection', 'credential'] LOOP
        EXECUTE format(
            'CREATE TRIGGER truncated AFTER TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION write_truncation_log()', name);
    END LOOP;
END
$$;

-- The milter's profiles are made of the few addresses that have a flow.
CREATE INDEX address_flow ON address (flow_id) WHERE flow_id IS NOT NULL;
