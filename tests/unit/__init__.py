"""Tests of one module each; PostgreSQL is real where SQL is what is tested."""
