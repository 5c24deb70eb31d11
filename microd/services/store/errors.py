"""The store's own ways to say no."""

from __future__ import annotations

from microd.kernel.errors import MicroError


class OutOfSpace(MicroError):
    """The disk is full; nothing was written."""

    code = 507
