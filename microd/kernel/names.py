"""What a name may look like: one rule for namespaces, services, databases and tables alike."""

from __future__ import annotations

import re

from microd.kernel.errors import BadRequest

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


def require_name(what: str, name: str, longest: int = 128) -> str:
    """Let an identifier pass: letters, digits, C{_}, C{-} and C{.}; never empty, never C{..}.

    @param what: what the name is for, as the error says it: "the service's name".
    @raise BadRequest: it is no such name.
    """
    if not name:
        raise BadRequest(f"{what} is missing")
    if len(name) > longest:
        raise BadRequest(f"{what} is longer than {longest} characters")
    if _NAME.fullmatch(name) is None or ".." in name:
        raise BadRequest(f"{what} may hold letters, digits, '_', '-' and single dots only")
    return name


def require_text(what: str, text: str, longest: int) -> str:
    """Let a text pass which is not empty, not too long (in UTF-8 bytes), and free of control characters.

    @raise BadRequest: it is no such text.
    """
    if text and len(text) <= longest and text.isascii() and text.isprintable():
        return text
    if not text:
        raise BadRequest(f"{what} is missing")
    if len(text) > longest or len(text.encode()) > longest:
        raise BadRequest(f"{what} is longer than {longest} bytes")
    if _UNPRINTABLE.search(text) is not None:
        raise BadRequest(f"{what} has control characters in it")
    return text
