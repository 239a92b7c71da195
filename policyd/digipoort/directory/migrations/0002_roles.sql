-- Least privilege: the daemons read, each what it decides on; only authd sees password hashes. Roles belong to the whole
-- cluster and may exist already; the admin grants them to login roles.

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['digipoort_read', 'digipoort_auth'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
END
$$;

GRANT SELECT ON party, flow, destination, target, address, connection, change_counter TO digipoort_read;
GRANT SELECT (id, login, party_id, services, mailbox_id, certificate_fingerprint, active) ON credential TO digipoort_read;
GRANT SELECT (id, active) ON party TO digipoort_auth;
GRANT SELECT (id, mailbox) ON target TO digipoort_auth;
GRANT SELECT (login, party_id, password_hash, services, mailbox_id, active) ON credential TO digipoort_auth;
