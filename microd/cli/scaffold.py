"""What a new service is made of."""

from __future__ import annotations

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

import asyncio
import unittest

from main import HelloRequest, hello


class HelloTests(unittest.TestCase):
    def test_greets_by_name(self) -> None:
        """Who gives a name is greeted by it."""
        reply = asyncio.run(hello(HelloRequest(name="Ada")))
        self.assertEqual(reply.msg, "Hello Ada")
'''

_README = """\
# {service}

A service for [microd](https://pypi.org/project/microd/), made by `micro new`.

    micro run .                       # start it; run it again after a change
    micro {service} hello --name=Ada{pad}# call it
    micro {service} --help{pad_help}# what else it can do
    micro logs -f {service}{pad_logs}# what it prints
    python -m unittest                # test it

An endpoint is a typed function in `main.py`. Packages it needs go into a `requirements.txt` beside it.
"""

_IGNORED = """\
__pycache__/
*.pyc
.venv/
"""


def files_of(service: str) -> dict[str, str]:
    """The files of a new service, by name.

    Its test needs nothing but Python: an endpoint stays a plain function.
    """
    column = len("micro run .                       ")
    return {
        "main.py": _MAIN.format(service=service),
        f"test_{''.join(c if c.isalnum() else '_' for c in service)}.py": _TEST.format(service=service),
        "README.md": _README.format(
            service=service,
            pad=_pad(f"micro {service} hello --name=Ada", column),
            pad_help=_pad(f"micro {service} --help", column),
            pad_logs=_pad(f"micro logs -f {service}", column),
        ),
        ".gitignore": _IGNORED,
    }


def _pad(command: str, column: int) -> str:
    return " " * max(2, column - len(command))
