"""The header C{authorization}."""

from __future__ import annotations

import base64
import binascii

from microd.kernel.errors import Unauthorized


def token_of(authorization: object) -> str | None:
    """The token that is shown: after C{Bearer}, or as the password of C{Basic}; None where nothing is (spec 5.5).

    @raise Unauthorized: it cannot be read.
    """
    if not authorization or not isinstance(authorization, str):
        return None
    return authorization[7:] if authorization[:7] == "Bearer " else _token_in(authorization)


def _token_in(authorization: str) -> str:
    """The token in a header which does not begin as most do."""
    scheme, _, rest = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return rest.strip()
        case "basic":
            try:
                _, colon, token = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                colon = ""
            if colon:
                return token
            raise Unauthorized("invalid authorization header. Incorrect format")
    raise Unauthorized("invalid authorization header. expected Bearer schema")
