"""How each of the platform's services is, what it was asked, and what the daemon said."""
