"""The registry: which services there are, and where they run."""
