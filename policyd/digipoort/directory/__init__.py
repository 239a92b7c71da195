"""The directory: who may exchange which messages with whom, in PostgreSQL."""
