"""The commands, one module for each that belongs together; loaded when they run."""
