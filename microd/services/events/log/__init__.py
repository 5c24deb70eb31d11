"""The log of one topic: what is appended to it, how it lies in the store, how it is read."""
