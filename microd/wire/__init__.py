"""The messages of the core services, generated from C{proto/} by C{scripts/protoc}; never edited."""
