"""Network: which node a call goes to, and the connections to it."""
