-- What a login may do: from which day to which, from which networks, and with which client certificate. All of it is optional, and a
-- credential of before has none of it; but a fingerprint that was only stored is required from now on.
ALTER TABLE credential
    ADD COLUMN valid_from date,
    ADD COLUMN valid_until date,
    ADD COLUMN networks cidr[] NOT NULL DEFAULT '{}',
    ADD COLUMN certificate_subject text,
    ADD COLUMN certificate_suffices boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN credential.valid_until IS 'the last day, included; null: until further notice';
COMMENT ON COLUMN credential.networks IS 'where its clients may be; empty: anywhere';
COMMENT ON COLUMN credential.certificate_subject IS 'the common name of a certificate of the CA bundle for clients';
COMMENT ON COLUMN credential.certificate_suffices IS 'the certificate alone may submit; otherwise it is required beside the password';

-- Not validated: each row has them, by the defaults, and a table of a million need not be read under a lock for it.
ALTER TABLE credential
    ADD CONSTRAINT credential_period_check CHECK (valid_until >= valid_from) NOT VALID,
    -- The daemons read them whole with every login.
    ADD CONSTRAINT credential_networks_check CHECK (cardinality(networks) <= 64 AND array_position(networks, NULL) IS NULL) NOT VALID,
    ADD CONSTRAINT credential_certificate_subject_check CHECK (
        certificate_subject ~ '^[ -~]+$' AND length(certificate_subject) <= 256
    ) NOT VALID,
    ADD CONSTRAINT credential_certificate_suffices_check CHECK (
        NOT certificate_suffices OR 'submission' = ANY (services) AND coalesce(certificate_fingerprint, certificate_subject) IS NOT NULL
    ) NOT VALID;
GRANT SELECT (valid_from, valid_until, networks, certificate_subject, certificate_suffices) ON credential TO digipoort_read;
GRANT SELECT (id, valid_from, valid_until, networks) ON credential TO digipoort_auth;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'digipoort_rehash') THEN
        CREATE ROLE digipoort_rehash NOLOGIN;
    END IF;
END
$$;

-- All that this role can do: give a login whose hash it knows a hash of ours. Anybody else's password stays out of its reach.
CREATE FUNCTION replace_password_hash(of_login text, former text, successor text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF successor !~ '^\$argon2id\$' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'The new hash is not argon2id.';
    END IF;
    PERFORM set_config('digipoort.actor', 'digipoort-authd', true);
    UPDATE credential SET password_hash = successor WHERE login = of_login AND password_hash = former;
    RETURN FOUND;
END
$$;
DO $$
DECLARE
    home regnamespace := (SELECT relnamespace FROM pg_class WHERE oid = 'credential'::regclass);
BEGIN
    EXECUTE format('ALTER FUNCTION %s.replace_password_hash(text, text, text) SET search_path = %s, pg_temp', home, home);
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s.replace_password_hash(text, text, text) FROM PUBLIC', home);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s.replace_password_hash(text, text, text) TO digipoort_rehash', home);
END
$$;
