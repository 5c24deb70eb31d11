"""The store: records by key, in tables, in databases; a database for each namespace."""
