"""SOCKS5: messages and the server's side. Bytes follow RFC 1928 and RFC 1929."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.socks5 import (
    ADDRESS_TYPE_NOT_SUPPORTED,
    CONNECT,
    CONNECTION_REFUSED,
    HOST_UNREACHABLE,
    UDP_ASSOCIATE,
    Socks5Server,
    SocksRequest,
    encode_credentials,
    encode_reply,
    encode_request,
    encode_udp,
    parse_udp,
)
from mihomo_tproxy.errors import (
    AuthenticationFailed,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
)

REQUEST = bytes.fromhex("05010003 0b 6578616d706c652e636f6d 01bb")
PARSED = SocksRequest(CONNECT, "example.com", 443, b"")


def verify(user: bytes, password: bytes) -> bool:
    return (user, password) == (b"user", b"pass")


def trickle(server: Socks5Server, data: bytes) -> SocksRequest | None:
    found = None
    for byte in data:
        assert found is None
        found = server.receive_data(bytes((byte,)))
    return found


def test_without_authentication_step_by_step() -> None:
    server = Socks5Server(None)
    assert server.receive_data(b"\x05\x02\x00\x02") is None
    assert server.output == b"\x05\x00"
    server.output = b""
    assert server.receive_data(REQUEST + b"early") == PARSED
    assert server.early == b"early"
    assert server.output == b""


def test_with_authentication_step_by_step() -> None:
    server = Socks5Server(verify)
    assert server.receive_data(b"\x05\x02\x00\x02") is None
    assert server.output == b"\x05\x02"
    server.output = b""
    assert server.receive_data(b"\x01\x04user\x04pass") is None
    assert server.output == b"\x01\x00"
    assert server.receive_data(REQUEST) == PARSED._replace(user=b"user")


@pytest.mark.parametrize("check", [None, verify])
def test_all_at_once_byte_by_byte_and_truncated(check) -> None:
    data = (
        b"\x05\x01\x00" + REQUEST
        if check is None
        else b"\x05\x01\x02\x01\x04user\x04pass" + REQUEST
    )
    expected = PARSED._replace(user=b"" if check is None else b"user")
    server = Socks5Server(check)
    assert server.receive_data(data) == expected
    assert trickle(Socks5Server(check), data) == expected
    for cut in range(len(data)):
        server = Socks5Server(check)
        assert server.receive_data(data[:cut]) is None
        assert server.receive_data(data[cut:]) == expected


def test_a_client_that_insists_on_a_password() -> None:
    server = Socks5Server(None)
    assert server.receive_data(b"\x05\x01\x02\x01\x01a\x00" + REQUEST) == PARSED._replace(user=b"a")
    assert server.output == b"\x05\x02\x01\x00"


@pytest.mark.parametrize("password", [b"", b"pas", b"passs", b"Pass"])
def test_a_wrong_password(password: bytes) -> None:
    server = Socks5Server(verify)
    message = b"\x01\x04user" + bytes((len(password),)) + password
    with pytest.raises(AuthenticationFailed) as caught:
        server.receive_data(b"\x05\x01\x02" + message + REQUEST)
    assert caught.value.cause == "socks5-auth-failed"
    assert server.output == b"\x05\x02\x01\x01"


@pytest.mark.parametrize("methods", [b"", b"\x00", b"\x00\x01", b"\x01\x80"])
def test_no_method_in_common(methods: bytes) -> None:
    server = Socks5Server(verify)
    with pytest.raises(RemoteProtocolError) as caught:
        server.receive_data(b"\x05" + bytes((len(methods),)) + methods)
    assert caught.value.cause == "socks5-no-method"
    assert server.output == b"\x05\xff"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"\x04", "socks5-bad-version"),
        (b"GET / HTTP/1.1", "socks5-bad-version"),
        (b"\x05\x01\x02\x05", "socks5-bad-request"),
        (b"\x05\x01\x00\x04", "socks5-bad-request"),
        (b"\x05\x01\x00\x05\x01\x00\x02", "bad-address"),
    ],
)
def test_what_is_not_socks5(data: bytes, cause: str) -> None:
    check = verify if data[2:3] == b"\x02" else None
    with pytest.raises(RemoteProtocolError) as caught:
        Socks5Server(check).receive_data(data)
    assert caught.value.cause == cause
    with pytest.raises(RemoteProtocolError):
        trickle(Socks5Server(check), data)


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (b"\x02", ADDRESS_TYPE_NOT_SUPPORTED),
        (b"\x03\x00\x00\x50", HOST_UNREACHABLE),
        (b"\x03\x03a b\x00\x50", HOST_UNREACHABLE),
    ],
)
def test_an_address_we_cannot_use_is_answered(address: bytes, code: int) -> None:
    server = Socks5Server(None)
    with pytest.raises(RemoteProtocolError):
        server.receive_data(b"\x05\x01\x00\x05\x01\x00" + address)
    assert server.output == b"\x05\x00" + encode_reply(code)


@given(st.lists(st.binary(max_size=30), max_size=6), st.booleans())
def test_only_protocol_errors_escape_in_any_pieces(chunks: list[bytes], asks: bool) -> None:
    server = Socks5Server(verify if asks else None)
    try:
        for chunk in (b"\x05\x02\x00\x02", *chunks):
            if server.receive_data(chunk) is not None:
                return
    except ProtocolError:
        pass


def test_messages_as_written() -> None:
    assert encode_request(CONNECT, "example.com", 443) == REQUEST
    assert encode_request(UDP_ASSOCIATE, "::1", 1).hex() == "05030004" + "00" * 15 + "010001"
    assert encode_reply(CONNECTION_REFUSED).hex() == "05050001000000000000"
    assert encode_reply(0, "192.0.2.1", 1080).hex() == "05000001c00002010438"
    assert encode_credentials("Aladdin", "") == b"\x01\x07Aladdin\x00"
    assert encode_credentials("é", "x") == b"\x01\x02\xc3\xa9\x01x"


@pytest.mark.parametrize(("username", "password"), [("x" * 256, "y"), ("x", "é" * 128)])
def test_credentials_that_are_too_long(username: str, password: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_credentials(username, password)


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "example.com"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_datagrams(host: str, kind: type) -> None:
    wire = encode_udp(kind(b"data"), host, 53)
    assert wire[:3] == b"\x00\x00\x00"
    found = parse_udp(kind(wire))
    assert found == (host, 53, len(wire) - 4)
    for cut in range(found[2]):
        with pytest.raises(RemoteProtocolError) as caught:
            parse_udp(wire[:cut])
        assert caught.value.cause == "socks5-short"


def test_fragments_are_refused() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_udp(b"\x00\x00\x01" + encode_udp(b"data", "192.0.2.1", 53)[3:])
    assert caught.value.cause == "socks5-fragment"


@given(st.binary(max_size=40))
def test_only_protocol_errors_escape_of_datagrams(data: bytes) -> None:
    try:
        assert parse_udp(data)[2] <= len(data)
    except ProtocolError:
        pass
