-- The directory: parties, flows, addresses, targets. Constraints live here, so that a wrong state cannot be stored:
-- composite foreign keys carry a party's kind to the tables whose rules depend on it.

CREATE EXTENSION IF NOT EXISTS btree_gist;

CREATE DOMAIN code AS text CHECK (VALUE ~ '^[A-Z0-9][A-Z0-9_-]{0,31}$');
-- A subset of RFC 5321's Mailbox: no quoted strings, no source routes, lower case, within Postfix's and the RFC's limits.
CREATE DOMAIN mail_address AS text CHECK (
    length(VALUE) <= 254
    AND VALUE ~ '^[a-z0-9_+-]+(\.[a-z0-9_+-]+)*@[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$'
    AND length(split_part(VALUE, '@', 1)) <= 64
);

CREATE TABLE party (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code code NOT NULL UNIQUE,
    name text NOT NULL CHECK (name <> ''),
    kind text NOT NULL CHECK (kind IN ('private', 'government')),
    active boolean NOT NULL DEFAULT true,
    UNIQUE (id, kind)
);

CREATE TABLE flow (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code code NOT NULL UNIQUE,
    name text NOT NULL CHECK (name <> ''),
    owner_id bigint NOT NULL,
    owner_kind text NOT NULL DEFAULT 'government' CHECK (owner_kind = 'government'),
    size_limit bigint NOT NULL CHECK (size_limit > 0),
    interface jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(interface) = 'object'),
    FOREIGN KEY (owner_id, owner_kind) REFERENCES party (id, kind),
    UNIQUE (id, owner_id)
);
COMMENT ON COLUMN flow.size_limit IS 'octets of a message as submitted, in CRLF form';

-- How mail reaches one physical domain of an agency; shared by every target in that domain.
CREATE TABLE destination (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    domain text NOT NULL UNIQUE CHECK (domain = lower(domain) AND domain ~ '^[a-z0-9.-]+\.[a-z0-9-]+$'),
    nexthop text NOT NULL CHECK (nexthop ~ '^(\[[0-9A-Za-z:.-]+\]|[0-9A-Za-z.-]+)(:[0-9]{1,5})?$'),
    tls_level text NOT NULL DEFAULT 'secure'
        CHECK (tls_level IN ('encrypt', 'dane-only', 'fingerprint', 'verify', 'secure')),
    tls_match text CHECK (tls_match ~ '^[0-9A-Za-z:.-]+$'),
    CONSTRAINT destination_fingerprint_needs_match CHECK (tls_match IS NOT NULL OR tls_level <> 'fingerprint')
);
COMMENT ON COLUMN destination.tls_level IS 'a level of Postfix TLS_README that never falls back to cleartext';

CREATE TABLE target (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('mailbox', 'remote')),
    party_id bigint NOT NULL,
    party_kind text NOT NULL,
    mailbox text UNIQUE CHECK (mailbox ~ '^[a-z0-9]{4,32}$'),
    local_part text CHECK (local_part ~ '^[a-z0-9_+-]+(\.[a-z0-9_+-]+)*$' AND length(local_part) <= 64),
    destination_id bigint REFERENCES destination (id),
    FOREIGN KEY (party_id, party_kind) REFERENCES party (id, kind),
    UNIQUE (id, party_id),
    UNIQUE (id, party_id, kind),
    UNIQUE (destination_id, local_part),
    CONSTRAINT target_mailbox_has_id CHECK ((kind = 'mailbox') = (mailbox IS NOT NULL)),
    CONSTRAINT target_remote_has_address CHECK (
        (kind = 'remote') = (local_part IS NOT NULL)
        AND (kind = 'remote') = (destination_id IS NOT NULL)
    ),
    CONSTRAINT target_remote_is_government CHECK (kind = 'mailbox' OR party_kind = 'government')
);

CREATE TABLE address (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address mail_address NOT NULL UNIQUE,
    party_id bigint NOT NULL,
    party_kind text NOT NULL,
    flow_id bigint,
    target_id bigint NOT NULL,
    FOREIGN KEY (party_id, party_kind) REFERENCES party (id, kind),
    FOREIGN KEY (target_id, party_id) REFERENCES target (id, party_id),
    FOREIGN KEY (flow_id, party_id) REFERENCES flow (id, owner_id),
    UNIQUE (id, party_kind),
    -- A government address belongs to exactly one flow and thereby determines the flow of a message.
    CONSTRAINT address_flow_by_kind CHECK ((party_kind = 'government') = (flow_id IS NOT NULL))
);
CREATE INDEX address_party ON address (party_id);
CREATE INDEX address_target ON address (target_id);

CREATE TABLE connection (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    address_id bigint NOT NULL,
    address_kind text NOT NULL DEFAULT 'private' CHECK (address_kind = 'private'),
    flow_id bigint NOT NULL REFERENCES flow (id),
    valid_from date NOT NULL,
    valid_until date CONSTRAINT connection_period_check CHECK (valid_until >= valid_from),
    FOREIGN KEY (address_id, address_kind) REFERENCES address (id, party_kind) ON DELETE CASCADE,
    CONSTRAINT connection_no_overlap
        EXCLUDE USING gist (address_id WITH =, flow_id WITH =, daterange(valid_from, valid_until, '[]') WITH &&)
);
CREATE INDEX connection_address_flow ON connection (address_id, flow_id);
COMMENT ON COLUMN connection.valid_until IS 'the last day, included; null: until further notice';

CREATE TABLE credential (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login text NOT NULL UNIQUE CHECK (login ~ '^[a-z0-9][a-z0-9._@-]{0,127}$'),
    party_id bigint NOT NULL REFERENCES party (id),
    password_hash text NOT NULL CHECK (password_hash ~ '^\$[!-~]+$'),
    services text[] NOT NULL CHECK (services <@ ARRAY['pop3', 'submission'] AND cardinality(services) > 0),
    mailbox_id bigint,
    mailbox_kind text NOT NULL DEFAULT 'mailbox' CHECK (mailbox_kind = 'mailbox'),
    certificate_fingerprint text CHECK (certificate_fingerprint ~ '^([0-9A-F]{2}:){31}[0-9A-F]{2}$'),
    active boolean NOT NULL DEFAULT true,
    -- One mailbox at most, and only one of the credential's own party.
    FOREIGN KEY (mailbox_id, party_id, mailbox_kind) REFERENCES target (id, party_id, kind),
    CONSTRAINT credential_pop3_needs_mailbox CHECK (mailbox_id IS NOT NULL OR NOT 'pop3' = ANY (services))
);
CREATE INDEX credential_party ON credential (party_id);

CREATE TABLE change_counter (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    value bigint NOT NULL
);
COMMENT ON TABLE change_counter IS
    'locked and raised inside every writing transaction: whoever reads the same value twice has missed no commit';
INSERT INTO change_counter (value) VALUES (1);

CREATE TABLE change_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    object text NOT NULL,
    before jsonb,
    after jsonb
);

CREATE FUNCTION raise_change_counter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE change_counter SET value = value + 1;
    RETURN NULL;
END
$$;

CREATE FUNCTION write_change_log() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO change_log (actor, object, before, after)
    VALUES (
        coalesce(nullif(current_setting('digipoort.actor', true), ''), session_user::text),
        TG_TABLE_NAME,
        -- A hash is a secret too: the log tells that it changed, not what it was.
        CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - 'password_hash' END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - 'password_hash' END
    );
    RETURN NULL;
END
$$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['party', 'flow', 'destination', 'target', 'address', 'connection', 'credential'] LOOP
        EXECUTE format(
            'CREATE TRIGGER counted BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION raise_change_counter()', name);
        EXECUTE format(
            'CREATE TRIGGER logged AFTER INSERT OR UPDATE OR DELETE ON %I '
            'FOR EACH ROW EXECUTE FUNCTION write_change_log()', name);
    END LOOP;
END
$$;
