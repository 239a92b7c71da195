-- Resubmissions: what each flow does with one, and what was submitted lately. The rows of `submission` have a bounded size,
-- their number is that of the messages accepted within RESUBMISSION_WINDOW_DAYS: the policy daemon deletes what is older.

ALTER TABLE flow ADD COLUMN resubmission text NOT NULL DEFAULT 'tell'
    CHECK (resubmission IN ('accept', 'refuse', 'tell'));

-- Not directory contents: no change counter, no change log. fillfactor: an asked row is rewritten in its own page.
CREATE TABLE submission (
    party_id bigint NOT NULL REFERENCES party (id) ON DELETE CASCADE,
    message bytea NOT NULL CHECK (octet_length(message) = 32),
    digest bytea NOT NULL CHECK (octet_length(digest) = 32),
    reference text NOT NULL CHECK (reference ~ '^DP-[0-9]{8}-[0-9A-Z]{16}$'),
    first_seen timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (party_id, message)
) WITH (fillfactor = 90);
CREATE INDEX submission_first_seen ON submission (first_seen);
COMMENT ON COLUMN submission.message IS 'SHA-256 of Message-ID, NUL, recipient';
COMMENT ON COLUMN submission.digest IS 'SHA-256 of the body, in CRLF form';

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'digipoort_resubmission') THEN
        CREATE ROLE digipoort_resubmission NOLOGIN;
    END IF;
END
$$;

GRANT SELECT, INSERT, UPDATE, DELETE ON submission TO digipoort_resubmission;
GRANT SELECT (address, party_id) ON address TO digipoort_resubmission;
