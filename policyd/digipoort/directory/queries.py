"""Every SQL statement of the gateway, by name. Values are always parameters; nothing here is built from strings.

The daemons ask one question, one round trip, per decision. Statements that decide return exactly one row, whatever
exists: what is absent is NULL, and the decision about it is made in Python, where it is tested without a database.
"""

from __future__ import annotations

from typing import Final, LiteralString

# --- decisions -------------------------------------------------------------------------------------------------------

# Whose the session is, its login tells; without one (NULL) its certificate, and of those that match the one that says
# most. Each is an index probe, made only when those before it found nothing.
SUBMISSION: Final[LiteralString] = """
SELECT
    credential.login,
    credential.active AND party.active AS login_active,
    coalesce(today.day >= credential.valid_from, true) AS begun,
    coalesce(today.day > credential.valid_until, false) AS ended,
    coalesce(credential.networks::text[], '{}') AS networks,
    'submission' = ANY (credential.services) AS may_submit,
    credential.certificate_fingerprint,
    credential.certificate_subject,
    EXISTS (
        SELECT FROM address WHERE address.address = %(sender)s AND address.party_id = credential.party_id
    ) AS owns_sender
FROM (SELECT coalesce(%(day)s::date, (now() AT TIME ZONE %(timezone)s)::date) AS day) AS today
LEFT JOIN credential ON credential.id = coalesce(
    (SELECT id FROM credential WHERE login = %(login)s),
    (
        SELECT id FROM credential
        WHERE certificate_suffices
        AND coalesce(certificate_fingerprint, '') = %(fingerprint)s AND coalesce(certificate_subject, '') = %(subject)s
    ),
    (
        SELECT id FROM credential
        WHERE certificate_suffices
        AND coalesce(certificate_fingerprint, '') = %(fingerprint)s AND coalesce(certificate_subject, '') = ''
    ),
    (
        SELECT id FROM credential
        WHERE certificate_suffices
        AND coalesce(certificate_fingerprint, '') = '' AND coalesce(certificate_subject, '') = %(subject)s
    )
)
LEFT JOIN party ON party.id = credential.party_id
"""

# Driven from the two addresses, each one unique-index probe; the connection is looked up from the private side, so that
# a hub (one flow with very many connected traders) costs no more than any other.
ACCEPTANCE: Final[LiteralString] = """
SELECT
    sender.party_kind AS sender_kind,
    recipient.party_kind AS recipient_kind,
    flow.code AS flow,
    flow.size_limit AS size_limit,
    link.periods AS connection_periods,
    link.valid AS connection_valid
FROM (VALUES (1)) AS one
LEFT JOIN LATERAL (
    SELECT address.id, address.party_kind, address.flow_id
    FROM address JOIN party ON party.id = address.party_id AND party.active
    WHERE address.address = %(sender)s
    OFFSET 0
) AS sender ON true
LEFT JOIN LATERAL (
    SELECT address.id, address.party_kind, address.flow_id
    FROM address JOIN party ON party.id = address.party_id AND party.active
    WHERE address.address = %(recipient)s
    OFFSET 0
) AS recipient ON true
LEFT JOIN flow ON flow.id = coalesce(recipient.flow_id, sender.flow_id)
LEFT JOIN LATERAL (
    SELECT
        count(*) AS periods,
        coalesce(bool_or(
            today.day >= connection.valid_from
            AND (connection.valid_until IS NULL OR today.day <= connection.valid_until)
        ), false) AS valid
    FROM connection, (SELECT coalesce(%(day)s::date, (now() AT TIME ZONE %(timezone)s)::date) AS day) AS today
    WHERE connection.address_id = CASE WHEN sender.party_kind = 'private' THEN sender.id ELSE recipient.id END
    AND connection.flow_id = flow.id
    OFFSET 0
) AS link ON true
"""

AUTHENTICATION: Final[LiteralString] = """
SELECT
    credential.password_hash,
    credential.services,
    credential.active AND party.active AS active,
    target.mailbox,
    coalesce(today.day >= credential.valid_from, true) AS begun,
    coalesce(today.day > credential.valid_until, false) AS ended,
    credential.networks::text[] AS networks
FROM (SELECT (now() AT TIME ZONE %(timezone)s)::date AS day) AS today, credential
JOIN party ON party.id = credential.party_id
LEFT JOIN target ON target.id = credential.mailbox_id
WHERE credential.login = %(login)s
"""

LOGIN: Final[LiteralString] = """
SELECT credential.active AND party.active AS active, target.mailbox
FROM credential
JOIN party ON party.id = credential.party_id
LEFT JOIN target ON target.id = credential.mailbox_id
WHERE credential.login = %(login)s
"""
MAILBOX: Final[LiteralString] = "SELECT mailbox FROM target WHERE mailbox = %(mailbox)s"
REPLACE_HASH: Final[LiteralString] = "SELECT replace_password_hash(%(login)s, %(former)s, %(successor)s)"

# --- resubmissions ---------------------------------------------------------------------------------------------------

# One statement, so that of two hosts that claim at once exactly one is first: the other waits for the row and finds it.
# What is older than the window counts as not there. The row returned is the one that stands afterwards.
CLAIM_SUBMISSION: Final[LiteralString] = """
INSERT INTO submission AS kept (party_id, message, digest, reference)
SELECT address.party_id, %(message)s, %(digest)s, %(reference)s FROM address WHERE address.address = %(sender)s
ON CONFLICT (party_id, message) DO UPDATE SET
    digest = CASE WHEN kept.first_seen < now() - %(window)s THEN excluded.digest ELSE kept.digest END,
    reference = CASE WHEN kept.first_seen < now() - %(window)s THEN excluded.reference ELSE kept.reference END,
    first_seen = CASE WHEN kept.first_seen < now() - %(window)s THEN excluded.first_seen ELSE kept.first_seen END
RETURNING kept.reference, kept.digest
"""
RECALL_SUBMISSION: Final[LiteralString] = """
SELECT submission.reference, submission.digest
FROM address JOIN submission ON submission.party_id = address.party_id AND submission.message = %(message)s
WHERE address.address = %(sender)s
"""
RELEASE_SUBMISSION: Final[LiteralString] = """
DELETE FROM submission USING address
WHERE address.address = %(sender)s AND submission.party_id = address.party_id
AND submission.message = %(message)s AND submission.reference = %(reference)s
RETURNING submission.reference
"""
# Rows that another host is deleting or renewing at this moment are passed over.
PRUNE_SUBMISSIONS: Final[LiteralString] = """
WITH pruned AS (
    DELETE FROM submission WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM submission WHERE first_seen < now() - %(window)s LIMIT %(batch)s FOR UPDATE SKIP LOCKED
    )) RETURNING 1
)
SELECT count(*) FROM pruned
"""

# --- publication -----------------------------------------------------------------------------------------------------

CHANGE_COUNTER: Final[LiteralString] = "SELECT value FROM change_counter"

# A writer holds the counter's row until it commits, so that the log's ids ascend in the order of the commits.
LAST_CHANGE: Final[LiteralString] = "SELECT coalesce(max(id), 0) FROM change_log"
# What the published files are made of; parties, connections and credentials are in none of them.
CHANGED_SINCE: Final[LiteralString] = """
SELECT object, before, after FROM change_log
WHERE id > %(last)s AND object IN ('address', 'target', 'destination', 'flow') ORDER BY id LIMIT %(most)s
"""

# Addresses of inactive parties stay published: whether mail is taken is the policy daemon's decision, and what was
# accepted before the party was disabled is still delivered. Sorted as Python sorts octets: maps are merged as streams.
# The server makes the lines, of which none can hold what COPY escapes, and joins very many to one row: it is the
# number of rows that costs time here. So each row is LINES_A_ROW lines with `\n` between them.
LINES_A_ROW: Final = 2000
SORT_IN_MEMORY: Final[LiteralString] = "SET LOCAL work_mem = '64MB'"
COPY_ALIASES: Final[LiteralString] = """
COPY (
    SELECT string_agg(line, E'\\n' ORDER BY number)
    FROM (
        SELECT
            address.address || ' '
                || coalesce(target.mailbox || '@' || %(mailbox_domain)s, target.local_part || '@' || destination.domain)
                AS line,
            row_number() OVER (ORDER BY address.address COLLATE "C") - 1 AS number
        FROM address
        JOIN target ON target.id = address.target_id
        LEFT JOIN destination ON destination.id = target.destination_id
    ) AS numbered
    GROUP BY number / %(lines)s
    ORDER BY number / %(lines)s
) TO STDOUT
"""
# A mailbox has a line for each name of its domain; `first` and `second` are what follows its id in them, in order.
COPY_MAILBOXES: Final[LiteralString] = """
COPY (
    SELECT string_agg(mailbox || %(first)s || E'\\n' || mailbox || %(second)s, E'\\n' ORDER BY number)
    FROM (
        SELECT mailbox, row_number() OVER (ORDER BY (mailbox || '@') COLLATE "C") - 1 AS number
        FROM target WHERE kind = 'mailbox'
    ) AS numbered
    GROUP BY number / %(lines)s
    ORDER BY number / %(lines)s
) TO STDOUT
"""
ALIASES_OF: Final[LiteralString] = """
SELECT address.address, target.mailbox, target.local_part || '@' || destination.domain AS remote
FROM address
JOIN target ON target.id = address.target_id
LEFT JOIN destination ON destination.id = target.destination_id
WHERE address.address = ANY (%(addresses)s::text[]) OR address.target_id = ANY (%(targets)s::bigint[])
LIMIT %(most)s
"""
MAILBOXES_OF: Final[LiteralString] = "SELECT mailbox FROM target WHERE mailbox = ANY (%(mailboxes)s::text[])"
PUBLISHED_FLOWS: Final[LiteralString] = "SELECT code, size_limit, interface, resubmission FROM flow ORDER BY code"
PUBLISHED_FLOW_ADDRESSES: Final[LiteralString] = """
SELECT address.address, flow.code FROM address JOIN flow ON flow.id = address.flow_id ORDER BY address.address
"""

# --- administration --------------------------------------------------------------------------------------------------

MAILBOXES_AND_LOGINS: Final[LiteralString] = """
SELECT target.mailbox, party.code,
    coalesce(array_agg(credential.login ORDER BY credential.login) FILTER (WHERE credential.login IS NOT NULL), '{}')
FROM target
JOIN party ON party.id = target.party_id
LEFT JOIN credential ON credential.mailbox_id = target.id
WHERE target.mailbox IS NOT NULL
GROUP BY target.mailbox, party.code
ORDER BY target.mailbox COLLATE "C"
"""
SECONDS_NOW: Final[LiteralString] = "SELECT extract(epoch FROM clock_timestamp())::bigint"
SET_ACTOR: Final[LiteralString] = "SELECT set_config('digipoort.actor', %(actor)s, true)"
# A writer that holds the change counter and never commits must not leave every other admin waiting without a word.
BOUND_LOCK_WAIT: Final[LiteralString] = "SET LOCAL lock_timeout = '10s'"

ADD_PARTY: Final[LiteralString] = (
    "INSERT INTO party (code, name, kind, active) VALUES (%(code)s, %(name)s, %(kind)s, %(active)s)"
)

ADD_FLOW: Final[LiteralString] = """
INSERT INTO flow (code, name, owner_id, size_limit, interface, resubmission)
VALUES (%(code)s, %(name)s, %(owner_id)s, %(size_limit)s, %(interface)s, %(resubmission)s)
"""

ADD_DESTINATION: Final[LiteralString] = """
INSERT INTO destination (domain, nexthop, tls_level, tls_match, transport)
VALUES (%(domain)s, %(nexthop)s, %(tls_level)s, %(tls_match)s, %(transport)s)
"""

PARTY_ID: Final[LiteralString] = "SELECT id FROM party WHERE code = %(party)s"
FLOW_ID: Final[LiteralString] = "SELECT id FROM flow WHERE code = %(flow)s"
ADDRESS_ID: Final[LiteralString] = "SELECT id FROM address WHERE address = %(address)s"
DESTINATION_ID: Final[LiteralString] = "SELECT id FROM destination WHERE domain = %(domain)s"
MAILBOX_ID: Final[LiteralString] = "SELECT id FROM target WHERE mailbox = %(mailbox)s"
CREDENTIAL_ID: Final[LiteralString] = "SELECT id FROM credential WHERE login = %(login)s"
CONNECTION_ID: Final[LiteralString] = """
SELECT id FROM connection
WHERE address_id = %(address_id)s AND flow_id = %(flow_id)s AND valid_from = %(valid_from)s
"""

ADD_MAILBOX: Final[LiteralString] = """
INSERT INTO target (kind, party_id, party_kind, mailbox)
SELECT 'mailbox', id, kind, %(mailbox)s FROM party WHERE id = %(party_id)s
"""
ADD_REMOTE: Final[LiteralString] = """
INSERT INTO target (kind, party_id, party_kind, local_part, destination_id)
SELECT 'remote', id, kind, %(local_part)s, %(destination_id)s FROM party WHERE id = %(party_id)s
"""
REMOTE_ID: Final[LiteralString] = """
SELECT id FROM target WHERE local_part = %(local_part)s AND destination_id = %(destination_id)s
"""
ADD_ADDRESS: Final[LiteralString] = """
INSERT INTO address (address, party_id, party_kind, flow_id, target_id)
SELECT %(address)s, id, kind, %(flow_id)s, %(target_id)s FROM party WHERE id = %(party_id)s
"""

ADD_CONNECTION: Final[LiteralString] = """
INSERT INTO connection (address_id, flow_id, valid_from, valid_until)
VALUES (%(address_id)s, %(flow_id)s, %(valid_from)s, %(valid_until)s)
"""

ADD_CREDENTIAL: Final[LiteralString] = """
INSERT INTO credential (
    login, party_id, password_hash, services, mailbox_id, active, certificate_fingerprint, certificate_subject,
    certificate_suffices, valid_from, valid_until, networks
)
VALUES (
    %(login)s, %(party_id)s, %(password_hash)s, %(services)s, %(mailbox_id)s, %(active)s, %(certificate_fingerprint)s,
    %(certificate_subject)s, %(certificate_suffices)s, %(valid_from)s, %(valid_until)s, %(networks)s::text[]::cidr[]
)
"""

SET_PARTY_ACTIVE: Final[LiteralString] = "UPDATE party SET active = %(active)s WHERE code = %(party)s"
SET_CREDENTIAL_ACTIVE: Final[LiteralString] = "UPDATE credential SET active = %(active)s WHERE login = %(login)s"
SET_CREDENTIAL_HASH: Final[LiteralString] = (
    "UPDATE credential SET password_hash = %(password_hash)s WHERE login = %(login)s"
)
SET_SIZE_LIMIT: Final[LiteralString] = "UPDATE flow SET size_limit = %(size_limit)s WHERE code = %(flow)s"
SET_RESUBMISSION: Final[LiteralString] = "UPDATE flow SET resubmission = %(resubmission)s WHERE code = %(flow)s"
SET_INTERFACE: Final[LiteralString] = "UPDATE flow SET interface = %(interface)s WHERE code = %(flow)s"
# Only the period that holds the day or goes on after it is cut off; what ended before it stays as it was.
END_CONNECTION: Final[LiteralString] = """
UPDATE connection SET valid_until = %(last)s
WHERE address_id = %(address_id)s AND flow_id = %(flow_id)s
AND valid_from <= %(last)s AND (valid_until IS NULL OR valid_until > %(last)s)
"""

CHANGE_PARTY: Final[LiteralString] = (
    "UPDATE party SET name = %(name)s, kind = %(kind)s, active = %(active)s WHERE code = %(code)s"
)
CHANGE_FLOW: Final[LiteralString] = """
UPDATE flow SET name = %(name)s, owner_id = %(owner_id)s, size_limit = %(size_limit)s, interface = %(interface)s,
    resubmission = %(resubmission)s
WHERE code = %(code)s
"""
CHANGE_DESTINATION: Final[LiteralString] = """
UPDATE destination SET nexthop = %(nexthop)s, tls_level = %(tls_level)s, tls_match = %(tls_match)s,
    transport = %(transport)s
WHERE domain = %(domain)s
"""
CHANGE_MAILBOX: Final[LiteralString] = """
UPDATE target SET party_id = party.id, party_kind = party.kind
FROM party WHERE party.id = %(party_id)s AND target.mailbox = %(mailbox)s
"""
CHANGE_ADDRESS: Final[LiteralString] = """
UPDATE address SET party_id = party.id, party_kind = party.kind, flow_id = %(flow_id)s, target_id = %(target_id)s
FROM party WHERE party.id = %(party_id)s AND address.address = %(address)s
"""
CHANGE_CONNECTION: Final[LiteralString] = """
UPDATE connection SET valid_until = %(valid_until)s
WHERE address_id = %(address_id)s AND flow_id = %(flow_id)s AND valid_from = %(valid_from)s
"""
CHANGE_CREDENTIAL: Final[LiteralString] = """
UPDATE credential SET party_id = %(party_id)s, password_hash = %(password_hash)s, services = %(services)s,
    mailbox_id = %(mailbox_id)s, active = %(active)s, certificate_fingerprint = %(certificate_fingerprint)s,
    certificate_subject = %(certificate_subject)s, certificate_suffices = %(certificate_suffices)s,
    valid_from = %(valid_from)s, valid_until = %(valid_until)s, networks = %(networks)s::text[]::cidr[]
WHERE login = %(login)s
"""

REMOVE_PARTY: Final[LiteralString] = "DELETE FROM party WHERE code = %(party)s"
REMOVE_FLOW: Final[LiteralString] = "DELETE FROM flow WHERE code = %(flow)s"
REMOVE_DESTINATION: Final[LiteralString] = "DELETE FROM destination WHERE domain = %(domain)s"
REMOVE_MAILBOX: Final[LiteralString] = "DELETE FROM target WHERE mailbox = %(mailbox)s"
REMOVE_ADDRESS: Final[LiteralString] = "DELETE FROM address WHERE address = %(address)s"
REMOVE_CONNECTION: Final[LiteralString] = (
    "DELETE FROM connection WHERE address_id = %(address_id)s AND flow_id = %(flow_id)s AND valid_from = %(valid_from)s"
)
REMOVE_CREDENTIAL: Final[LiteralString] = "DELETE FROM credential WHERE login = %(login)s"
REMOVE_UNUSED_TARGETS: Final[LiteralString] = """
DELETE FROM target WHERE kind = 'remote' AND NOT EXISTS (SELECT FROM address WHERE address.target_id = target.id)
"""

# Objects as objects.py has them, column by column: all, in the order in which they refer to each other, and one.
# "C": the order is the same on every server, whatever its locale.
_PARTIES: Final[LiteralString] = "SELECT code, name, kind, active FROM party"
_FLOWS: Final[LiteralString] = """
SELECT flow.code, flow.name, party.code, flow.size_limit, flow.interface, flow.resubmission
FROM flow JOIN party ON party.id = flow.owner_id"""
_DESTINATIONS: Final[LiteralString] = "SELECT domain, nexthop, tls_level, tls_match, transport FROM destination"
_MAILBOXES: Final[LiteralString] = """
SELECT target.mailbox, party.code FROM target JOIN party ON party.id = target.party_id"""
_ADDRESSES: Final[LiteralString] = """
SELECT address.address, party.code, flow.code, target.mailbox, target.local_part, destination.domain
FROM address
JOIN party ON party.id = address.party_id
JOIN target ON target.id = address.target_id
LEFT JOIN flow ON flow.id = address.flow_id
LEFT JOIN destination ON destination.id = target.destination_id"""
_CONNECTIONS: Final[LiteralString] = """
SELECT address.address, flow.code, connection.valid_from, connection.valid_until
FROM connection
JOIN address ON address.id = connection.address_id
JOIN flow ON flow.id = connection.flow_id"""
_CREDENTIALS: Final[LiteralString] = """
SELECT credential.login, party.code, credential.password_hash, credential.services, target.mailbox, credential.active,
    credential.certificate_fingerprint, credential.certificate_subject, credential.certificate_suffices,
    credential.valid_from, credential.valid_until, credential.networks::text[]
FROM credential
JOIN party ON party.id = credential.party_id
LEFT JOIN target ON target.id = credential.mailbox_id"""

ALL_PARTIES: Final[LiteralString] = _PARTIES + ' ORDER BY code COLLATE "C"'
ALL_FLOWS: Final[LiteralString] = _FLOWS + ' ORDER BY flow.code COLLATE "C"'
ALL_DESTINATIONS: Final[LiteralString] = _DESTINATIONS + ' ORDER BY domain COLLATE "C"'
ALL_MAILBOXES: Final[LiteralString] = (
    _MAILBOXES + """ WHERE target.kind = 'mailbox' ORDER BY target.mailbox COLLATE "C\""""
)
ALL_ADDRESSES: Final[LiteralString] = _ADDRESSES + ' ORDER BY address.address COLLATE "C"'
ALL_CONNECTIONS: Final[LiteralString] = (
    _CONNECTIONS + ' ORDER BY address.address COLLATE "C", flow.code COLLATE "C", connection.valid_from'
)
ALL_CREDENTIALS: Final[LiteralString] = _CREDENTIALS + ' ORDER BY credential.login COLLATE "C"'

ONE_PARTY: Final[LiteralString] = _PARTIES + " WHERE code = %(party)s"
ONE_FLOW: Final[LiteralString] = _FLOWS + " WHERE flow.code = %(flow)s"
ONE_DESTINATION: Final[LiteralString] = _DESTINATIONS + " WHERE domain = %(domain)s"
ONE_MAILBOX: Final[LiteralString] = _MAILBOXES + " WHERE target.mailbox = %(mailbox)s"
ONE_ADDRESS: Final[LiteralString] = _ADDRESSES + " WHERE address.address = %(address)s"
# Several, one for each period, when no first day is given.
ONE_CONNECTION: Final[LiteralString] = (
    _CONNECTIONS
    + """
WHERE address.address = %(address)s AND flow.code = %(flow)s
AND (%(valid_from)s::date IS NULL OR connection.valid_from = %(valid_from)s)
ORDER BY connection.valid_from
"""
)
ONE_CREDENTIAL: Final[LiteralString] = _CREDENTIALS + " WHERE credential.login = %(login)s"
# Whoever holds the counter's row is the only writer: what a plan was made from stays as it was until the commit.
LOCK_DIRECTORY: Final[LiteralString] = "SELECT value FROM change_counter FOR UPDATE"

# --- what is shown ---------------------------------------------------------------------------------------------------

# A parameter that is NULL filters nothing. The server knows the values when it plans: a key is found by its index.
LIST_PARTIES: Final[LiteralString] = """
SELECT code, name, kind, active
FROM party
WHERE (%(party)s::text IS NULL OR code = %(party)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
ORDER BY code LIMIT %(limit)s::bigint
"""
LIST_FLOWS: Final[LiteralString] = """
SELECT flow.code, flow.name, party.code AS owner, flow.size_limit, flow.resubmission, flow.interface
FROM flow JOIN party ON party.id = flow.owner_id
WHERE (%(flow)s::text IS NULL OR flow.code = %(flow)s) AND (%(party)s::text IS NULL OR party.code = %(party)s)
ORDER BY flow.code LIMIT %(limit)s::bigint
"""
LIST_DESTINATIONS: Final[LiteralString] = """
SELECT domain, nexthop, tls_level, coalesce(tls_match, '') AS tls_match, transport
FROM destination
WHERE %(domain)s::text IS NULL OR domain = %(domain)s
ORDER BY domain LIMIT %(limit)s::bigint
"""
LIST_MAILBOXES: Final[LiteralString] = """
SELECT target.mailbox, party.code AS party
FROM target JOIN party ON party.id = target.party_id
WHERE target.mailbox IS NOT NULL
AND (%(mailbox)s::text IS NULL OR target.mailbox = %(mailbox)s)
AND (%(party)s::text IS NULL OR party.code = %(party)s)
ORDER BY target.mailbox LIMIT %(limit)s::bigint
"""
LIST_ADDRESSES: Final[LiteralString] = """
SELECT address.address, party.code AS party, coalesce(flow.code, '') AS flow,
    coalesce('mailbox:' || target.mailbox, target.local_part || '@' || destination.domain) AS target
FROM address
JOIN party ON party.id = address.party_id
JOIN target ON target.id = address.target_id
LEFT JOIN flow ON flow.id = address.flow_id
LEFT JOIN destination ON destination.id = target.destination_id
WHERE (%(address)s::text IS NULL OR address.address = %(address)s)
AND (%(party)s::text IS NULL OR party.code = %(party)s)
AND (%(flow)s::text IS NULL OR flow.code = %(flow)s)
AND (%(mailbox)s::text IS NULL OR target.mailbox = %(mailbox)s)
AND (%(domain)s::text IS NULL OR destination.domain = %(domain)s)
ORDER BY address.address LIMIT %(limit)s::bigint
"""
LIST_CONNECTIONS: Final[LiteralString] = """
SELECT address.address, flow.code AS flow, connection.valid_from, connection.valid_until
FROM connection
JOIN address ON address.id = connection.address_id
JOIN party ON party.id = address.party_id
JOIN flow ON flow.id = connection.flow_id
WHERE (%(address)s::text IS NULL OR address.address = %(address)s)
AND (%(flow)s::text IS NULL OR flow.code = %(flow)s)
AND (%(party)s::text IS NULL OR party.code = %(party)s)
AND (%(valid_from)s::date IS NULL OR connection.valid_from = %(valid_from)s)
ORDER BY address.address, flow.code, connection.valid_from LIMIT %(limit)s::bigint
"""
LIST_CREDENTIALS: Final[LiteralString] = """
SELECT credential.login, party.code AS party, array_to_string(credential.services, ' ') AS services,
    coalesce(target.mailbox, '') AS mailbox,
    CASE
        WHEN NOT credential.active THEN 'disabled'
        WHEN NOT party.active THEN 'party-disabled'
        WHEN today.day < credential.valid_from THEN 'not-yet'
        WHEN today.day > credential.valid_until THEN 'expired'
        WHEN today.day IS NOT NULL THEN 'active'
    END AS state,
    credential.active, credential.valid_from, credential.valid_until,
    array_to_string(credential.networks, ' ') AS networks,
    CASE
        WHEN credential.certificate_suffices THEN 'suffices'
        WHEN coalesce(credential.certificate_fingerprint, credential.certificate_subject) IS NOT NULL THEN 'required'
    END AS certificate,
    credential.certificate_fingerprint, credential.certificate_subject, credential.certificate_suffices
FROM (SELECT (now() AT TIME ZONE %(timezone)s::text)::date AS day) AS today, credential
JOIN party ON party.id = credential.party_id
LEFT JOIN target ON target.id = credential.mailbox_id
WHERE (%(login)s::text IS NULL OR credential.login = %(login)s)
AND (%(party)s::text IS NULL OR party.code = %(party)s)
AND (%(mailbox)s::text IS NULL OR target.mailbox = %(mailbox)s)
AND (
    %(expiring)s::integer IS NULL
    OR credential.active AND party.active
    AND credential.valid_until BETWEEN today.day AND today.day + %(expiring)s::integer
)
ORDER BY credential.login LIMIT %(limit)s::bigint
"""

# What refers to an object: of which kind, how many of that kind there are, and the first names of each.
PARTY_REFERENCES: Final[LiteralString] = """
WITH named AS (SELECT id FROM party WHERE code = %(party)s)
(SELECT 'flow' AS kind, count(*) OVER () AS total, flow.code AS name
FROM flow JOIN named ON named.id = flow.owner_id ORDER BY name LIMIT %(most)s)
UNION ALL
(SELECT 'mailbox', count(*) OVER (), target.mailbox
FROM target JOIN named ON named.id = target.party_id WHERE target.kind = 'mailbox' ORDER BY 3 LIMIT %(most)s)
UNION ALL
(SELECT 'address', count(*) OVER (), address.address
FROM address JOIN named ON named.id = address.party_id ORDER BY 3 LIMIT %(most)s)
UNION ALL
(SELECT 'login', count(*) OVER (), credential.login
FROM credential JOIN named ON named.id = credential.party_id ORDER BY 3 LIMIT %(most)s)
"""
FLOW_REFERENCES: Final[LiteralString] = """
WITH named AS (SELECT id FROM flow WHERE code = %(flow)s)
(SELECT 'address' AS kind, count(*) OVER () AS total, address.address AS name
FROM address JOIN named ON named.id = address.flow_id ORDER BY name LIMIT %(most)s)
UNION ALL
(SELECT 'connection', count(*) OVER (), address.address || ' ' || connection.valid_from::text
    || ' ' || coalesce(connection.valid_until::text, '-')
FROM connection JOIN named ON named.id = connection.flow_id JOIN address ON address.id = connection.address_id
ORDER BY 3 LIMIT %(most)s)
"""
DESTINATION_REFERENCES: Final[LiteralString] = """
SELECT 'address', count(*) OVER (), address.address || ' ' || target.local_part || '@' || destination.domain AS name
FROM destination
JOIN target ON target.destination_id = destination.id
JOIN address ON address.target_id = target.id
WHERE destination.domain = %(domain)s
ORDER BY name LIMIT %(most)s
"""
MAILBOX_REFERENCES: Final[LiteralString] = """
WITH named AS (SELECT id FROM target WHERE mailbox = %(mailbox)s)
(SELECT 'address' AS kind, count(*) OVER () AS total, address.address AS name
FROM address JOIN named ON named.id = address.target_id ORDER BY name LIMIT %(most)s)
UNION ALL
(SELECT 'login', count(*) OVER (), credential.login
FROM credential JOIN named ON named.id = credential.mailbox_id ORDER BY 3 LIMIT %(most)s)
"""
ADDRESS_REFERENCES: Final[LiteralString] = """
SELECT 'connection', count(*) OVER (), flow.code || ' ' || connection.valid_from::text
    || ' ' || coalesce(connection.valid_until::text, '-') AS name
FROM address
JOIN connection ON connection.address_id = address.id
JOIN flow ON flow.id = connection.flow_id
WHERE address.address = %(address)s
ORDER BY name LIMIT %(most)s
"""

# The first names from each of `starts` on, in the order of the index: as many probes as there are starts, whatever
# the directory holds.
PARTY_NAMES: Final[LiteralString] = """
SELECT DISTINCT found.name FROM unnest(%(starts)s::text[]) AS start (name) CROSS JOIN LATERAL (
    SELECT code::text AS name FROM party WHERE code >= start.name ORDER BY code LIMIT %(most)s
) AS found
"""
FLOW_NAMES: Final[LiteralString] = """
SELECT DISTINCT found.name FROM unnest(%(starts)s::text[]) AS start (name) CROSS JOIN LATERAL (
    SELECT code::text AS name FROM flow WHERE code >= start.name ORDER BY code LIMIT %(most)s
) AS found
"""
DESTINATION_NAMES: Final[LiteralString] = """
SELECT DISTINCT found.name FROM unnest(%(starts)s::text[]) AS start (name) CROSS JOIN LATERAL (
    SELECT domain AS name FROM destination WHERE domain >= start.name ORDER BY domain LIMIT %(most)s
) AS found
"""
MAILBOX_NAMES: Final[LiteralString] = """
SELECT DISTINCT found.name FROM unnest(%(starts)s::text[]) AS start (name) CROSS JOIN LATERAL (
    SELECT mailbox AS name FROM target WHERE mailbox >= start.name ORDER BY mailbox LIMIT %(most)s
) AS found
"""
ADDRESS_NAMES: Final[LiteralString] = """
SELECT DISTINCT found.name FROM unnest(%(starts)s::text[]) AS start (name) CROSS JOIN LATERAL (
    SELECT address::text AS name FROM address WHERE address >= start.name ORDER BY address LIMIT %(most)s
) AS found
"""
CREDENTIAL_NAMES: Final[LiteralString] = """
SELECT DISTINCT found.name FROM unnest(%(starts)s::text[]) AS start (name) CROSS JOIN LATERAL (
    SELECT login AS name FROM credential WHERE login >= start.name ORDER BY login LIMIT %(most)s
) AS found
"""

# --- bulk import -----------------------------------------------------------------------------------------------------

# The types check each value while the file comes in, and PostgreSQL says in which line. The first line has the names.
INCOMING: Final[LiteralString] = """
CREATE TEMPORARY TABLE incoming (
    line bigint GENERATED ALWAYS AS IDENTITY (START 2),
    address mail_address NOT NULL,
    party code NOT NULL,
    mailbox text CONSTRAINT target_mailbox_check CHECK (mailbox ~ '^[a-z0-9]{4,32}$'),
    remote mail_address,
    flow code
) ON COMMIT DROP
"""
COPY_INCOMING: Final[LiteralString] = (
    "COPY incoming (address, party, mailbox, remote, flow) FROM STDIN WITH (FORMAT csv, HEADER true)"
)
INCOMING_READY: Final[LiteralString] = "ANALYZE incoming"
# What no type can tell, each with the first lines that it is wrong in.
INCOMING_FAULTS: Final[LiteralString] = """
WITH fault AS (
    SELECT incoming.line, CASE
        WHEN party.id IS NULL THEN 'there is no party ' || incoming.party
        WHEN (incoming.mailbox IS NULL) = (incoming.remote IS NULL) THEN 'give either mailbox or remote'
        WHEN split_part(incoming.address, '@', 2) <> ALL (%(domains)s)
            THEN 'the domain of ' || incoming.address || ' is not a logical domain'
        WHEN incoming.flow IS NOT NULL AND flow.id IS NULL THEN 'there is no flow ' || incoming.flow
        WHEN flow.owner_id <> party.id THEN 'the flow ' || incoming.flow || ' belongs to another party'
        WHEN (party.kind = 'government') <> (incoming.flow IS NOT NULL)
            THEN 'a government address has exactly one flow, a private one none'
        WHEN incoming.remote IS NOT NULL AND party.kind = 'private' THEN 'a private party has mailboxes only'
        WHEN incoming.remote IS NOT NULL AND destination.id IS NULL
            THEN 'there is no destination for the domain of ' || incoming.remote
        WHEN coalesce(box.party_id, remote.party_id) <> party.id
            THEN 'the mailbox or physical address belongs to another party'
        WHEN address.id IS NOT NULL THEN incoming.address || ' exists already'
    END AS what
    FROM incoming
    LEFT JOIN party ON party.code = incoming.party
    LEFT JOIN flow ON flow.code = incoming.flow
    LEFT JOIN destination ON destination.domain = split_part(incoming.remote, '@', 2)
    LEFT JOIN target AS box ON box.mailbox = incoming.mailbox
    LEFT JOIN target AS remote
        ON remote.destination_id = destination.id AND remote.local_part = split_part(incoming.remote, '@', 1)
    LEFT JOIN address ON address.address = incoming.address
    UNION ALL
    SELECT line, address || ' stands in more than one line'
    FROM (SELECT line, address, count(*) OVER (PARTITION BY address) AS times FROM incoming) AS counted
    WHERE times > 1
    UNION ALL
    SELECT min(line), coalesce(mailbox, remote) || ' is given to more than one party'
    FROM incoming GROUP BY coalesce(mailbox, remote) HAVING count(DISTINCT party) > 1
)
SELECT line, what FROM fault WHERE what IS NOT NULL ORDER BY line, what LIMIT %(most)s
"""
IMPORT_MAILBOXES: Final[LiteralString] = """
INSERT INTO target (kind, party_id, party_kind, mailbox)
SELECT DISTINCT 'mailbox', party.id, party.kind, incoming.mailbox
FROM incoming JOIN party ON party.code = incoming.party
WHERE incoming.mailbox IS NOT NULL AND NOT EXISTS (SELECT FROM target WHERE target.mailbox = incoming.mailbox)
"""
IMPORT_REMOTES: Final[LiteralString] = """
INSERT INTO target (kind, party_id, party_kind, local_part, destination_id)
SELECT DISTINCT 'remote', party.id, party.kind, split_part(incoming.remote, '@', 1), destination.id
FROM incoming
JOIN party ON party.code = incoming.party
JOIN destination ON destination.domain = split_part(incoming.remote, '@', 2)
ON CONFLICT (destination_id, local_part) DO NOTHING
"""
IMPORT_ADDRESSES: Final[LiteralString] = """
INSERT INTO address (address, party_id, party_kind, flow_id, target_id)
SELECT incoming.address, party.id, party.kind, flow.id, target.id
FROM incoming
JOIN party ON party.code = incoming.party
JOIN target ON target.mailbox = incoming.mailbox
LEFT JOIN flow ON flow.code = incoming.flow
UNION ALL
SELECT incoming.address, party.id, party.kind, flow.id, target.id
FROM incoming
JOIN party ON party.code = incoming.party
JOIN destination ON destination.domain = split_part(incoming.remote, '@', 2)
JOIN target ON target.destination_id = destination.id AND target.local_part = split_part(incoming.remote, '@', 1)
LEFT JOIN flow ON flow.code = incoming.flow
"""

# --- history ---------------------------------------------------------------------------------------------------------

# Every change of the objects that had this name at any time, and of an address's connections.
HISTORY: Final[LiteralString] = """
WITH named AS (
    SELECT DISTINCT object, (coalesce(after, before) ->> 'id')::bigint AS id
    FROM change_log
    WHERE %(name)s IN (
        after ->> 'address', after ->> 'login', after ->> 'code', after ->> 'domain', after ->> 'mailbox',
        before ->> 'address', before ->> 'login', before ->> 'code', before ->> 'domain', before ->> 'mailbox'
    )
)
SELECT change_log.at, change_log.actor, change_log.object, change_log.before, change_log.after
FROM change_log
WHERE (object, (coalesce(after, before) ->> 'id')::bigint) IN (SELECT object, id FROM named)
OR object = 'connection'
    AND (coalesce(after, before) ->> 'address_id')::bigint IN (SELECT id FROM named WHERE object = 'address')
ORDER BY change_log.id
"""
# The last names of objects by kind and row id, those that are gone included.
HISTORY_NAMES: Final[LiteralString] = """
SELECT DISTINCT ON (wanted.object, wanted.id) wanted.object, wanted.id, coalesce(
    row ->> 'code', row ->> 'domain', row ->> 'mailbox', row ->> 'address', row ->> 'local_part', row ->> 'login'
)
FROM unnest(%(objects)s::text[], %(ids)s::bigint[]) AS wanted (object, id)
JOIN change_log ON change_log.object = wanted.object
CROSS JOIN LATERAL (SELECT coalesce(after, before) AS row) AS values
WHERE (row ->> 'id')::bigint = wanted.id
ORDER BY wanted.object, wanted.id, change_log.id DESC
"""

# --- the condition of a server ---------------------------------------------------------------------------------------

SERVER: Final[LiteralString] = """
SELECT session_user::text, current_setting('server_version'), pg_is_in_recovery(),
    current_setting('transaction_read_only') = 'on', clock_timestamp()
"""
RECEIVED: Final[LiteralString] = "SELECT pg_last_wal_receive_lsn()::text"
# On a standby only; what it received before is given, because on a busy one something always comes in.
REPLAY: Final[LiteralString] = """
SELECT coalesce(pg_last_wal_replay_lsn() >= %(received)s::pg_lsn, true), pg_is_wal_replay_paused(),
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8
"""
DAY_IN_TIMEZONE: Final[LiteralString] = "SELECT (now() AT TIME ZONE %(timezone)s)::date"
# Privileges on single columns count, and those by membership of a role.
WRITABLE_TABLES: Final[LiteralString] = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = to_regnamespace(current_schema()::text)
AND (has_any_column_privilege(oid, 'INSERT, UPDATE') OR has_table_privilege(oid, 'DELETE, TRUNCATE'))
ORDER BY relname
"""
ENDING_CREDENTIALS: Final[LiteralString] = """
SELECT count(*) OVER (), credential.login, credential.valid_until
FROM (SELECT (now() AT TIME ZONE %(timezone)s)::date AS day) AS today, credential
JOIN party ON party.id = credential.party_id
WHERE credential.active AND party.active
AND credential.valid_until BETWEEN today.day AND today.day + %(days)s::integer
ORDER BY credential.valid_until, credential.login LIMIT %(most)s
"""
READS_SECRETS: Final[LiteralString] = "SELECT has_column_privilege('credential', 'password_hash', 'SELECT')"

# --- migrations ------------------------------------------------------------------------------------------------------

MIGRATION_TABLE: Final[LiteralString] = """
CREATE TABLE IF NOT EXISTS migration (
    name text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
# One migrator at a time; the number is this project's own.
MIGRATION_LOCK: Final[LiteralString] = "SELECT pg_advisory_xact_lock(7261001)"
# Half of what a policy request has: one that queues behind a migration's wait is still answered.
BOUND_MIGRATION_LOCK_WAIT: Final[LiteralString] = "SET LOCAL lock_timeout = '1s'"
MIGRATIONS_APPLIED: Final[LiteralString] = "SELECT name FROM migration"
MIGRATION_RECORD: Final[LiteralString] = "INSERT INTO migration (name) VALUES (%(name)s)"
