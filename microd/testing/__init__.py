"""Fakes and contract tests that we ship for authors of services and backends."""
