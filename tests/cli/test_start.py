"""How the command starts: fast."""

import subprocess
import sys


def test_no_reactor() -> None:
    """What `micro services` imports has no Twisted, asyncio, ssl or entry points in it: they cost a start-up each."""
    program = (
        "import sys\n"
        "from microd.cli import main\n"
        "import microd.cli.commands.services, microd.txgrpc.blocking, microd.wire.registry_pb2, microd.wire.auth_pb2\n"
        "heavy = {'twisted', 'asyncio', 'ssl', 'importlib.metadata', 'pkg_resources', 'zope', 'typing_extensions'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
