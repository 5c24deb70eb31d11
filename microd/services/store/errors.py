"""The store's own ways to say no."""

from __future__ import annotations

from microd.kernel.errors import MicroError, Unavailable


class OutOfSpace(MicroError):
    """The disk is full; nothing was written."""

    code = 507


class StoreFailed(Unavailable):
    """The disk or the file turned out to be damaged. Writes are refused with 503 until the daemon is started anew.

    The writes which were under way when that showed have the code 500: whether they were kept shows after the next start.
    """
