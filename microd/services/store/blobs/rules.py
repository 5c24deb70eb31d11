"""Which names, spans and digests are taken, and who has to wait. Pure."""

from __future__ import annotations

import re
from collections import Counter

from microd.kernel.errors import BadRequest, PreconditionFailed, TooLarge, Unavailable
from microd.kernel.names import require_name, require_text
from microd.services.store.blobs.model import About, Blob, Limits, Span

_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_namespace(namespace: str) -> None:
    """Let a namespace pass.

    @raise BadRequest: it is no name.
    """
    require_name("the blobs' namespace", namespace)


def check_place(namespace: str, key: str, limits: Limits) -> None:
    """Let a namespace and a key pass. Keys are free, but for control characters: no key ever names a file.

    @raise BadRequest: one of them is no name.
    """
    if not key:
        raise BadRequest("Missing key")
    check_namespace(namespace)
    require_text("the blob's key", key, limits.key)


def check_list(namespace: str, prefix: str, after: str, limits: Limits) -> None:
    """Let pass what a list is asked with.

    @raise BadRequest: the namespace is no name, or no key could be so long.
    """
    check_namespace(namespace)
    for what, text in (("prefix", prefix), ("after", after)):
        if text:
            require_text(f"the list's {what}", text, limits.key)


def check_about(about: About, limits: Limits) -> None:
    """Let pass what a writer says."""
    if about.content_type:
        require_text("the blob's contentType", about.content_type, limits.content_type)


def check_size(size: int, limits: Limits) -> None:
    """Let a blob of so many bytes pass, as far as it has come."""
    if size > limits.blob:
        raise TooLarge(
            f"a blob may have at most {limits.blob} bytes (max_blob in [store] of the daemon's settings)"
        )


def check_digest(digest: str) -> None:
    """Let a digest pass, or none."""
    if digest and _DIGEST.fullmatch(digest) is None:
        raise BadRequest("a blob's digest is SHA-256 in 64 small hexadecimal digits")


def check_whole(digest: str, wanted: str) -> None:
    """Let a blob pass if it is the one that its writer meant."""
    if wanted and wanted != digest:
        raise BadRequest(
            f"the blob came with the digest {digest}, not {wanted}: nothing was kept, send it again"
        )


def span_of(span: Span, blob: Blob) -> range:
    """The bytes which a span chooses of a blob.

    @raise PreconditionFailed: it is not the blob that was meant.
    @raise BadRequest: the span begins beyond the end.
    """
    if span.digest and span.digest != blob.digest:
        raise PreconditionFailed(
            f"the blob has the digest {blob.digest} now, not {span.digest}: read it from its beginning"
        )
    if span.offset > blob.size:
        raise BadRequest(f"the offset {span.offset} is beyond the blob's {blob.size} bytes")
    end = min(blob.size, span.offset + span.length) if span.length else blob.size
    return range(span.offset, end)


class Places:
    """Counts what each namespace has under way, so that none takes all."""

    def __init__(self, what: str, most: int) -> None:
        self._what = what
        self._most = most
        self._taken: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many are taken."""
        return self._taken.total()

    def take(self, namespace: str) -> None:
        """Take a place.

        @raise Unavailable: there is none left.
        """
        if self._taken[namespace] >= self._most:
            raise Unavailable(
                f"{self._most} blobs of {namespace} are being {self._what} now: try again later"
            )
        self._taken[namespace] += 1

    def leave(self, namespace: str) -> None:
        """Give a place back."""
        self._taken[namespace] -= 1
        if not self._taken[namespace]:
            del self._taken[namespace]
