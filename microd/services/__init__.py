"""The nouns: one folder for each core service, all of one shape."""
