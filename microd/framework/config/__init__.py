"""Configuration for services and scripts: typed, from several places, and fresh without a restart.

A value is looked for in these places; each wins over those before it, key by key:

 1. the defaults in the source (L{Sources.defaults}),
 2. files, in the order in which they are given (L{Sources.files}),
 3. the platform's config service,
 4. the environment (L{Sources.prefix}).

Objects are merged, anything else takes the place of what was there; C{null} is nothing. The config service is asked each time;
files are read once, when the service starts.
"""
