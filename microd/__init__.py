"""Micro for Python: a cloud platform in one Twisted daemon."""

__version__ = "0.1.0"
