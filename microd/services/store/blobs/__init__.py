"""Blobs: large values by key, a wall around each namespace, moved in pieces and never whole in memory."""
