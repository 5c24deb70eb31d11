"""Auth: accounts, tokens, and whether somebody may."""
