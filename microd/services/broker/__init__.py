"""Broker: messages to whoever listens now, at most once, with no memory."""
