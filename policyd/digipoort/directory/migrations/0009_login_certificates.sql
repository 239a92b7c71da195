-- Without a login it is the certificate that tells whose a session is. The index holds only such rows, none at first; but the table is
-- read for it: in a migration of its own, whose lock lets logins and recipients be read meanwhile.
CREATE UNIQUE INDEX credential_certificate ON credential
    (coalesce(certificate_fingerprint, ''), coalesce(certificate_subject, '')) WHERE certificate_suffices;
