"""The C{micro} command: a client of the daemon that talks to it only over the wire.

Rules of this package: nothing is imported before a command needs it (C{micro services} has to start in a tenth of a
second), so no module here may import Twisted, asyncio or ssl at its top, and only the command that runs is loaded.
For the same reason the values which all commands share are NamedTuples: making a frozen dataclass takes half a
millisecond of every start, making a NamedTuple a thirtieth of that.
Commands raise L{microd.cli.failure.CommandFailed}; C{main} alone prints it and ends the process.
"""
