-- A delivery transport of its own for an agency that needs other limits, or another client certificate, than the rest: a service in
-- Postfix's master.cf. The names are such that none of the gateway's other services can be meant.
ALTER TABLE destination ADD COLUMN transport text NOT NULL DEFAULT 'smtp'
    CHECK (transport = 'smtp' OR transport ~ '^agency-[a-z0-9]+(-[a-z0-9]+)*$' AND length(transport) <= 40);
