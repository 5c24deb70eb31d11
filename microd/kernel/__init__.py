"""What all may rely on: errors, who is calling, what a core endpoint is. Nothing enters before two layers need it."""
