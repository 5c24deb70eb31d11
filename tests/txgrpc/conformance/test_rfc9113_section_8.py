"""RFC 9113 section 8, requests: their framing, fields and control data, from the side of a server."""

from collections.abc import Iterable

import pytest

from microd.testing import http2_frames as h2
from microd.testing.http2_frames import Code, Kind
from microd.testing.http2_peer import Peer
from microd.testing.http2_probe import REQUEST, ServerProbe, call, opening, request_fields

Lines = Iterable[tuple[bytes, bytes]]


def expect_malformed(peer: Peer, fields: Lines) -> None:
    """A request of these fields is a stream error PROTOCOL_ERROR, and the next one is served."""
    peer.send(h2.headers(1, h2.block(fields)), h2.data(1, h2.message(b"smuggled"), end=True))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    assert not peer.body(1)
    peer.send(call(3))
    assert peer.body(3) == h2.message(b"ping")


def replaced(name: bytes, *values: bytes) -> list[tuple[bytes, bytes]]:
    """The fields of a good request with these values, or none, of one of them."""
    fields: list[tuple[bytes, bytes]] = []
    for n, v in REQUEST:
        fields += [(n, value) for value in values] if n == name else [(n, v)]
    return fields


# 8.1 Message framing


def test_8_1_request_with_trailers(peer: Peer) -> None:
    """A request may end with trailers."""
    peer.send(opening(1, "Collect"), h2.data(1, h2.message(b"x")))
    peer.send(h2.headers(1, h2.block(((b"x-check", b"sum"),)), end=True))
    assert peer.body(1) == h2.message(b"x")
    peer.expect_tolerance(1)


def test_8_1_trailers_without_end_stream(probe: ServerProbe) -> None:
    """A second HEADERS without END_STREAM makes the request malformed."""
    peer = probe.peer()
    peer.send(opening(1, "Deaf"), h2.headers(1, h2.block(((b"x-check", b"sum"),))))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    assert probe.finished == ["Deaf"]


@pytest.mark.parametrize("name", [b":path", b":status", b":method", b":unknown"])
def test_8_1_pseudo_fields_in_trailers(peer: Peer, name: bytes) -> None:
    """Trailers MUST NOT include pseudo-header fields."""
    peer.send(opening(1, "Collect"), h2.headers(1, h2.block(((name, b"/"),)), end=True))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    assert not peer.body(1)


@pytest.mark.parametrize(
    "line", [(b"Upper", b"x"), (b"connection", b"close"), (b"x", b"a\0b"), (b"transfer-encoding", b"chunked")]
)
def test_8_1_forbidden_fields_in_trailers(peer: Peer, line: tuple[bytes, bytes]) -> None:
    """What is forbidden in a header section is forbidden in trailers."""
    peer.send(opening(1, "Collect"), h2.headers(1, h2.block((line,)), end=True))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)


def test_8_1_data_after_trailers(peer: Peer) -> None:
    """Trailers end the stream: nothing follows."""
    peer.send(opening(1, "Deaf"), h2.headers(1, h2.block(((b"x", b"y"),)), end=True), h2.data(1, b"x"))
    peer.expect_stream_error(1, Code.STREAM_CLOSED)


def test_8_1_a_complete_response_before_the_end_of_the_request(peer: Peer) -> None:
    """A call that answers early sends its whole response, then RST_STREAM with NO_ERROR."""
    peer.send(opening(1, "Early"), h2.data(1, h2.message(b"unread")))
    kinds = [f.kind for f in peer.frames if f.stream == 1 and f.kind != Kind.WINDOW_UPDATE]
    assert kinds == [Kind.HEADERS, Kind.DATA, Kind.HEADERS, Kind.RST_STREAM]
    assert peer.of(Kind.HEADERS, 1)[-1].ends_stream
    peer.expect_stream_error(1, Code.NO_ERROR)


# 8.1.1 Malformed messages: content-length


@pytest.mark.parametrize("length", [b"8", b"10", b"0", b"99999999999999999999"])
def test_8_1_1_content_length_differs(peer: Peer, length: bytes) -> None:
    """A content-length other than the sum of the DATA makes the request malformed."""
    peer.send(opening(1, "Collect", [(b"content-length", length)]))
    peer.send(h2.data(1, h2.message(b"four")), h2.data(1, end=True))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    assert not peer.body(1)


def test_8_1_1_content_length_of_a_unary_call_differs(probe: ServerProbe) -> None:
    """A unary handler is not called for a request whose length does not agree."""
    peer = probe.peer()
    peer.send(call(1, extra=[(b"content-length", b"10")]))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)
    assert not probe.started


def test_8_1_1_content_length_exceeded_is_told_at_once(peer: Peer) -> None:
    """DATA beyond the content-length is in error before the stream ends."""
    peer.send(opening(1, "Deaf", [(b"content-length", b"3")]), h2.data(1, h2.message(b"four")))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)


def test_8_1_1_content_length_and_trailers(peer: Peer) -> None:
    """The sum is checked where trailers end the request as well."""
    peer.send(opening(1, "Collect", [(b"content-length", b"10")]), h2.data(1, h2.message(b"four")))
    peer.send(h2.headers(1, h2.block(((b"x", b"y"),)), end=True))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)


def test_8_1_1_content_length_without_content(peer: Peer) -> None:
    """HEADERS with END_STREAM cannot announce any content."""
    peer.send(opening(1, "Collect", [(b"content-length", b"1")], end=True))
    peer.expect_stream_error(1, Code.PROTOCOL_ERROR)


@pytest.mark.parametrize("length", [b"nine", b"-9", b"+9", b"9 9", b"0x9", b"", b"9,8"])
def test_8_1_1_content_length_is_no_number(peer: Peer, length: bytes) -> None:
    """A content-length which is no number equals no sum."""
    expect_malformed(peer, request_fields(extra=[(b"content-length", length)]))


def test_8_1_1_content_lengths_disagree(peer: Peer) -> None:
    """Two content-lengths that differ cannot both hold."""
    expect_malformed(peer, request_fields(extra=[(b"content-length", b"13"), (b"content-length", b"14")]))


def test_8_1_1_content_length_agrees(peer: Peer) -> None:
    """The right content-length is fine; padding is no content."""
    peer.send(opening(1, "Collect", [(b"content-length", b"9")]))
    peer.send(h2.data(1, h2.message(b"four"), pad=50), h2.data(1, end=True))
    assert peer.body(1) == h2.message(b"four")
    peer.expect_tolerance(1)


# 8.2 Fields


@pytest.mark.parametrize("octet", [*range(0x21), *range(0x41, 0x5B), *range(0x7F, 0x100)])
def test_8_2_1_octet_forbidden_in_names(peer: Peer, octet: int) -> None:
    """A field name has no control, space, upper-case letter, DEL or octet above, wherever."""
    expect_malformed(peer, request_fields(extra=[(b"x-" + bytes([octet]) + b"-y", b"value")]))


@pytest.mark.parametrize("name", [b"X", b"Content-Type", b"x\n", b" x", b"x ", b""])
def test_8_2_1_forbidden_names(peer: Peer, name: bytes) -> None:
    """Names are tokens in lower case: neither empty nor padded with space."""
    expect_malformed(peer, request_fields(extra=[(name, b"value")]))


@pytest.mark.parametrize("name", [b"x:y", b"x:", b"a::b"])
def test_8_2_1_colon_in_names(peer: Peer, name: bytes) -> None:
    """Only pseudo-header fields have a colon, and only in front."""
    expect_malformed(peer, request_fields(extra=[(name, b"value")]))


@pytest.mark.parametrize("octet", [b"\0", b"\n", b"\r"])
@pytest.mark.parametrize("around", [(b"", b""), (b"a", b""), (b"", b"b"), (b"a", b"b")])
def test_8_2_1_octet_forbidden_in_values(peer: Peer, octet: bytes, around: tuple[bytes, bytes]) -> None:
    """A field value has no NUL, LF or CR at any position."""
    expect_malformed(peer, request_fields(extra=[(b"x", around[0] + octet + around[1])]))


@pytest.mark.parametrize("value", [b" a", b"a ", b"\ta", b"a\t", b" ", b"\t"])
def test_8_2_1_space_around_values(peer: Peer, value: bytes) -> None:
    """A field value neither starts nor ends with space or tab."""
    expect_malformed(peer, request_fields(extra=[(b"x", value)]))


@pytest.mark.parametrize("name", [b":path", b":authority", b"content-type", b"te"])
@pytest.mark.parametrize("value", [b"/a\0b", b"/a\r\nb", b" /a", b"/a "])
def test_8_2_1_values_of_known_fields(peer: Peer, name: bytes, value: bytes) -> None:
    """Pseudo-header fields and well-known ones are checked like others."""
    expect_malformed(peer, replaced(name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x", b""),
        (b"x", b"a b\tc"),
        (b"x", b"caf\xc3\xa9"),
        (b"x", b"\xff\x80"),
        (b"!#$%&'*+-.^_`|~09az", b"every character of a token"),
        (b"x-" + b"n" * 200, b"long"),
    ],
)
def test_8_2_1_legal_fields(peer: Peer, name: bytes, value: bytes) -> None:
    """What the rules do not forbid passes."""
    peer.send(call(1, extra=[(name, value)]))
    assert peer.body(1) == h2.message(b"ping")
    peer.expect_tolerance(1)


@pytest.mark.parametrize(
    "name", [b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"]
)
@pytest.mark.parametrize("value", [b"", b"close", b"chunked"])
def test_8_2_2_connection_specific_fields(peer: Peer, name: bytes, value: bytes) -> None:
    """A request with a connection-specific field is malformed."""
    expect_malformed(peer, request_fields(extra=[(name, value)]))


@pytest.mark.parametrize("value", [b"deflate", b"trailers, deflate", b"gzip;q=1"])
def test_8_2_2_te_other_than_trailers(peer: Peer, value: bytes) -> None:
    """TE may say trailers and nothing else."""
    expect_malformed(peer, replaced(b"te", value))


def test_8_2_2_te_may_be_absent(peer: Peer) -> None:
    """A request without TE is well formed, and nothing of it is reset."""
    peer.send(h2.headers(1, h2.block(replaced(b"te"))), h2.data(1, h2.message(b"x"), end=True))
    peer.expect_tolerance(1)


def test_8_2_3_cookie_in_crumbs(peer: Peer) -> None:
    """Cookie may come in several lines."""
    peer.send(call(1, extra=[(b"cookie", b"a=b"), (b"cookie", b"c=d")]))
    assert peer.body(1) == h2.message(b"ping")


# 8.3 Control data


@pytest.mark.parametrize("name", [b":unknown", b":", b":protocol", b":Path", b"::path"])
def test_8_3_unknown_pseudo_field(peer: Peer, name: bytes) -> None:
    """A pseudo-header field that is not defined makes the request malformed."""
    expect_malformed(peer, [(name, b"x"), *REQUEST])


def test_8_3_response_pseudo_field_in_a_request(peer: Peer) -> None:
    """:status belongs to responses."""
    expect_malformed(peer, [(b":status", b"200"), *REQUEST])


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
def test_8_3_pseudo_field_after_a_regular_one(peer: Peer, name: bytes) -> None:
    """Pseudo-header fields come before all regular ones."""
    moved = [line for line in REQUEST if line[0] == name]
    expect_malformed(peer, [*(line for line in REQUEST if line[0] != name), *moved])


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path", b":authority"])
@pytest.mark.parametrize("same", [True, False], ids=["same-value", "other-value"])
def test_8_3_repeated_pseudo_field(peer: Peer, name: bytes, same: bool) -> None:
    """A pseudo-header field appears once, even with the same value."""
    value = dict(REQUEST)[name]
    expect_malformed(peer, replaced(name, value, value if same else b"/other"))


# 8.3.1 Request pseudo-header fields


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path"])
def test_8_3_1_missing_pseudo_field(peer: Peer, name: bytes) -> None:
    """A request has :method, :scheme and :path."""
    expect_malformed(peer, replaced(name))


def test_8_3_1_no_field_at_all(peer: Peer) -> None:
    """An empty field section is no request."""
    expect_malformed(peer, [])


@pytest.mark.parametrize("name", [b":method", b":scheme", b":path"])
def test_8_3_1_empty_pseudo_field(peer: Peer, name: bytes) -> None:
    """:method, :scheme and :path have a value."""
    expect_malformed(peer, replaced(name, b""))


@pytest.mark.parametrize(
    "path", [b"conformance.Probe/Echo", b"http://localhost/conformance.Probe/Echo", b"*"]
)
def test_8_3_1_path_that_is_not_absolute(probe: ServerProbe, path: bytes) -> None:
    """A :path without its slash is answered, as 8.1.1 permits, with the error that clients know, and served by nobody."""
    peer = probe.peer()
    peer.send(h2.headers(1, h2.block(replaced(b":path", path))), h2.data(1, h2.message(b"x"), end=True))
    assert dict(peer.field_sections(1)[0])[b"grpc-message"].startswith(b"malformed method name")
    assert peer.of(Kind.HEADERS, 1)[0].ends_stream
    assert not probe.started
    peer.expect_alive()


@pytest.mark.parametrize("method", [b"PO ST", b"POST\x7f", b"(POST)"])
def test_8_3_1_method_is_a_token(peer: Peer, method: bytes) -> None:
    """:method is a token."""
    expect_malformed(peer, replaced(b":method", method))


@pytest.mark.parametrize("authority", [b"user@localhost", b"user:secret@localhost:80"])
def test_8_3_1_authority_with_userinfo(peer: Peer, authority: bytes) -> None:
    """:authority MUST NOT include the deprecated userinfo."""
    expect_malformed(peer, replaced(b":authority", authority))


def test_8_3_1_authority_may_be_absent(peer: Peer) -> None:
    """A request without authority is well formed."""
    peer.send(h2.headers(1, h2.block(replaced(b":authority"))), h2.data(1, h2.message(b"x"), end=True))
    assert peer.body(1) == h2.message(b"x")


def test_8_3_1_host_other_than_authority(peer: Peer) -> None:
    """A Host that names another than :authority makes the request malformed."""
    expect_malformed(peer, request_fields(extra=[(b"host", b"elsewhere.example")]))


def test_8_3_1_host_like_authority(peer: Peer) -> None:
    """A Host that agrees with :authority, in whatever case, is harmless."""
    peer.send(call(1, extra=[(b"host", b"LocalHost")]))
    assert peer.body(1) == h2.message(b"ping")


@pytest.mark.parametrize("scheme", [b"http", b"https", b"grpc"])
def test_8_3_1_scheme_is_not_restricted(peer: Peer, scheme: bytes) -> None:
    """:scheme is not restricted to http and https."""
    peer.send(h2.headers(1, h2.block(replaced(b":scheme", scheme))), h2.data(1, h2.message(b"x"), end=True))
    assert peer.body(1) == h2.message(b"x")


# 8.5 CONNECT


def test_8_5_connect_with_scheme_and_path(peer: Peer) -> None:
    """CONNECT omits :scheme and :path; with them it is malformed."""
    expect_malformed(peer, replaced(b":method", b"CONNECT"))


@pytest.mark.parametrize("extra", [(b":scheme", b"http"), (b":path", b"/")])
def test_8_5_connect_with_either(peer: Peer, extra: tuple[bytes, bytes]) -> None:
    """One of them is one too many."""
    expect_malformed(peer, [(b":method", b"CONNECT"), (b":authority", b"host:80"), extra])


def test_8_5_connect_without_authority(peer: Peer) -> None:
    """CONNECT says where to."""
    expect_malformed(peer, [(b":method", b"CONNECT")])


def test_8_5_connect_is_not_ours(probe: ServerProbe) -> None:
    """A well-formed CONNECT is turned down for its stream alone: no tunnel is opened."""
    peer = probe.peer()
    peer.send(h2.headers(1, h2.block(((b":method", b"CONNECT"), (b":authority", b"host:80")))))
    ended = [f for f in peer.frames if f.stream == 1 and (f.ends_stream or f.kind == Kind.RST_STREAM)]
    assert ended
    assert all(
        not dict(fields).get(b":status", b"").startswith(b"2") for fields in peer.field_sections(1)
    ) or (peer.of(Kind.HEADERS, 1)[0].ends_stream)
    peer.expect_alive()
    assert not probe.started


# 8.7 Request reliability


def test_8_7_a_refused_stream_was_not_processed(probe: ServerProbe) -> None:
    """REFUSED_STREAM is said only where no handler has seen the call."""
    peer = probe.peer()
    limit = peer.announced()[3]
    peer.send(*(call(1 + 2 * n, "Hang") for n in range(limit)))
    peer.send(call(1 + 2 * limit))
    assert peer.resets(1 + 2 * limit) == [Code.REFUSED_STREAM]
    assert probe.started == ["Hang"] * limit


def test_8_7_ping_shows_that_a_connection_is_alive(probe: ServerProbe) -> None:
    """PING is answered while handlers are at work."""
    peer = probe.peer()
    peer.send(call(1, "Hang"))
    peer.expect_alive()


# 8.8 Examples


def test_8_8_a_request_with_everything(peer: Peer) -> None:
    """Padding, priority, fragments, several DATA frames and trailers make one request."""
    block = h2.block(request_fields("Collect", [(b"content-length", b"14")]))
    first = h2.padded(bytes(4) + b"\x0f" + block[:20], 7)
    peer.send(
        h2.frame(Kind.HEADERS, 0x28, 1, first),
        h2.continuation(1, block[20:30], end_headers=False),
        h2.continuation(1, block[30:]),
        h2.data(1, h2.message(b"ab"), pad=3),
        h2.data(1, h2.message(b"cd")),
        h2.headers(1, h2.block(((b"x-sum", b"1"),)), end=True),
    )
    assert peer.body(1) == h2.message(b"abcd")
    peer.expect_tolerance(1)
