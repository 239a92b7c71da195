-- `digipoort doctor` compares the schema with its own version, with the login that the host reads with.
GRANT SELECT ON migration TO digipoort_read;
