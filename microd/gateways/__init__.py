"""The doors: where calls come in."""
