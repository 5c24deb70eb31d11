"""Put together: settings, the one composition root, the root service."""
