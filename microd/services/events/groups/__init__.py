"""Groups of consumers: what each has been given, what it is done with, and what comes again."""
