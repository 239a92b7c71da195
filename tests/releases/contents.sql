-- A small directory, with the columns of the first migration only: every schema takes it.
INSERT INTO party (code, name, kind) VALUES ('AAL', 'Bloemen B.V.', 'private'), ('DOUANE', 'Douane', 'government');
INSERT INTO flow (code, name, owner_id, size_limit, interface)
    SELECT 'AGS', 'AGS', id, 10485760, '{"max_parts": 20}' FROM party WHERE code = 'DOUANE';
INSERT INTO destination (domain, nexthop, tls_match) VALUES ('agency.test', '[mx.agency.test]:2525', 'mx.agency.test');
INSERT INTO target (kind, party_id, party_kind, mailbox)
    SELECT 'mailbox', id, kind, 'b0b0' FROM party WHERE code = 'AAL';
INSERT INTO target (kind, party_id, party_kind, local_part, destination_id)
    SELECT 'remote', party.id, party.kind, 'intake', destination.id FROM party, destination WHERE code = 'DOUANE';
INSERT INTO address (address, party_id, party_kind, target_id)
    SELECT 'bloemen@party.test', party_id, party_kind, id FROM target WHERE kind = 'mailbox';
INSERT INTO address (address, party_id, party_kind, flow_id, target_id)
    SELECT 'ags@gov.test', target.party_id, target.party_kind, flow.id, target.id FROM target, flow
    WHERE target.kind = 'remote';
INSERT INTO connection (address_id, flow_id, valid_from)
    SELECT address.id, flow.id, '2020-01-01' FROM address, flow WHERE address.flow_id IS NULL;
INSERT INTO credential (login, party_id, password_hash, services, mailbox_id)
    SELECT 'aal', party_id, '$argon2id$sample', '{pop3,submission}', id FROM target WHERE kind = 'mailbox';
