"""The public gRPC interop cases: written once, played by any client against any server.

C{python -m microd.testing.interop --target HOST:PORT} plays them with our clients; a test service to play them against
is L{microd.testing.interop.service}.
"""
