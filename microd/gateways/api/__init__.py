"""The HTTP door: JSON in, JSON out."""
