"""The runtime: services, from their source to their processes."""
