"""The relay: calls that are not the platform's own go on to a node, as opaque messages."""
