"""Events: a durable, ordered log for each topic, and groups of consumers that remember how far they are."""
