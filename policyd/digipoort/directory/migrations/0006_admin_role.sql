-- contract: nothing since 0.1.0 uses the right to execute trigger functions (PostgreSQL asks for it when a trigger is made)
-- The admin's role: it changes the directory, and can neither write, alter nor avoid the log and the counter of the changes.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'digipoort_admin') THEN
        CREATE ROLE digipoort_admin NOLOGIN;
    END IF;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON party, flow, destination, target, address, connection, credential TO digipoort_admin;
GRANT SELECT ON change_log, change_counter, migration TO digipoort_admin;
-- SELECT … FOR UPDATE, which keeps other writers out, asks for one column; this one can have no other value than it has.
GRANT UPDATE (only_row) ON change_counter TO digipoort_admin;

-- The triggers write with their owner's rights. Their names are looked up where the tables are, in nobody's temporary schema first; and
-- who may execute them could make them triggers of a temporary table, and so write what he likes into the log.
DO $$
DECLARE
    home regnamespace := (SELECT relnamespace FROM pg_class WHERE oid = 'change_log'::regclass);
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['raise_change_counter', 'write_change_log', 'write_truncation_log'] LOOP
        EXECUTE format('ALTER FUNCTION %s.%I() SECURITY DEFINER SET search_path = %s, pg_temp', home, name, home);
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s.%I() FROM PUBLIC', home, name);
    END LOOP;
    -- A database from before PostgreSQL 15 lets everybody put functions and operators there.
    EXECUTE format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC', home);
END
$$;
