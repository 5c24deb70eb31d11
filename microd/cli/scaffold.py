"""What a new service is made of."""

from __future__ import annotations

from microd.cli.layout import spaced
from microd.cli.naming import struct_of

_MAIN = '''\
"""The service {service}."""

from dataclasses import dataclass

from microd.framework import Service


@dataclass
class HelloRequest:
    name: str


@dataclass
class HelloReply:
    msg: str


service = Service("{service}")


@service.endpoint
async def hello(request: HelloRequest) -> HelloReply:
    """Greet somebody by name."""
    return HelloReply(msg=f"Hello {{request.name}}")


if __name__ == "__main__":
    service.run()
'''

_TEST = '''\
"""What {service} promises. Run it with `python -m unittest`."""

import unittest

from main import HelloReply, HelloRequest, service
from microd.testing.services import ServiceTester


class {struct}Tests(unittest.TestCase):
    def test_hello(self) -> None:
        """Who gives a name is greeted by it."""
        reply = ServiceTester(service).call("{struct}.Hello", HelloRequest(name="Ada"), HelloReply)
        self.assertEqual(reply, HelloReply(msg="Hello Ada"))
'''

_README = """\
# {service}

A service for microd, made by `micro new`.

{commands}

An endpoint is a typed function in `main.py`. Packages it needs go into a `requirements.txt` beside it.
"""

_IGNORED = """\
__pycache__/
*.pyc
.venv/
"""


def files_of(service: str) -> dict[str, str]:
    """The files of a new service, by name."""
    commands = [
        ("    micro run .", "# start it; run it again after a change"),
        (f"    micro {service} hello --name=Ada", "# call it"),
        (f"    micro {service} --help", "# what else it can do"),
        (f"    micro logs -f {service}", "# what it prints"),
        ("    python -m unittest", "# test it"),
    ]
    module = "".join(sign if sign.isalnum() else "_" for sign in service)
    return {
        "main.py": _MAIN.format(service=service),
        f"test_{module}.py": _TEST.format(service=service, struct=struct_of(service)),
        "README.md": _README.format(service=service, commands=spaced(commands)),
        ".gitignore": _IGNORED,
    }
