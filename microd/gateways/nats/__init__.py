"""The NATS door: the broker for every client of NATS."""
