"""SOCKS4 and SOCKS4a, the server's side. Bytes follow the two memos."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.socks4 import (
    CONNECT,
    GRANTED,
    MAX_REQUEST_BYTES,
    REJECTED,
    USER_MISMATCH,
    Socks4Server,
    encode_reply,
)
from mihomo_tproxy.codec.socks5 import SocksRequest
from mihomo_tproxy.errors import AuthenticationFailed, ProtocolError, RemoteProtocolError

PLAIN = bytes.fromhex("04010050c0000207") + b"fred\0"
NAMED = bytes.fromhex("040101bb00000001") + b"fred\0example.com\0"
CASES = [
    (PLAIN, SocksRequest(CONNECT, "192.0.2.7", 80, b"fred")),
    (NAMED, SocksRequest(CONNECT, "example.com", 443, b"fred")),
    (PLAIN[:8] + b"\0", SocksRequest(CONNECT, "192.0.2.7", 80, b"")),
    # 0.0.0.0 names no host by the memo: it is the address it says
    (b"\x04\x02\x00\x50\x00\x00\x00\x00\x00", SocksRequest(2, "0.0.0.0", 80, b"")),
]


@pytest.mark.parametrize(("data", "expected"), CASES)
def test_requests(data: bytes, expected: SocksRequest) -> None:
    server = Socks4Server(None)
    assert server.receive_data(data + b"early") == expected
    assert server.early == b"early"
    for cut in range(len(data)):
        server = Socks4Server(None)
        assert server.receive_data(data[:cut]) is None
        assert server.receive_data(data[cut:]) == expected
    server = Socks4Server(None)
    found = [server.receive_data(bytes((byte,))) for byte in data]
    assert found[-1] == expected
    assert not any(found[:-1])


def test_users() -> None:
    def verify(user: bytes, password: bytes) -> bool:
        return (user, password) == (b"fred", b"")

    assert Socks4Server(verify).receive_data(NAMED) == CASES[1][1]
    server = Socks4Server(verify)
    with pytest.raises(AuthenticationFailed):
        server.receive_data(NAMED.replace(b"fred", b"fran"))
    assert server.output == encode_reply(USER_MISMATCH)


@pytest.mark.parametrize(
    ("data", "output"),
    [
        (b"\x05\x01\x00", b""),
        (PLAIN[:8] + b"x" * 256, encode_reply(REJECTED)),
        (PLAIN[:8] + b"x" * 256 + b"\0", encode_reply(REJECTED)),
        (NAMED[:13] + b"x" * 256, encode_reply(REJECTED)),
        (NAMED[:13] + b"\0", encode_reply(REJECTED)),
        (NAMED[:13] + b"\xff\0", encode_reply(REJECTED)),
        (NAMED[:13] + b"a b\0", encode_reply(REJECTED)),
        (NAMED[:13] + b"a:b\0", encode_reply(REJECTED)),
    ],
)
def test_what_is_refused(data: bytes, output: bytes) -> None:
    server = Socks4Server(None)
    with pytest.raises(RemoteProtocolError):
        server.receive_data(data)
    assert server.output == output


def test_the_longest_request() -> None:
    data = NAMED[:8] + b"u" * 255 + b"\0" + b"n" * 255 + b"\0"
    assert len(data) == MAX_REQUEST_BYTES
    assert Socks4Server(None).receive_data(data) == SocksRequest(
        CONNECT, "n" * 255, 443, b"u" * 255
    )


def test_replies() -> None:
    assert encode_reply(GRANTED).hex() == "005a000000000000"


@given(st.lists(st.binary(max_size=30), max_size=6))
def test_only_protocol_errors_escape_in_any_pieces(chunks: list[bytes]) -> None:
    server = Socks4Server(None)
    try:
        for chunk in (b"\x04\x01", *chunks):
            if server.receive_data(chunk) is not None:
                return
    except ProtocolError:
        pass
