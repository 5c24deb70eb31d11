"""Where services can run."""
