"""Measurements of microd beside its peers: one module a bench, run by C{scripts/bench NAME}."""
