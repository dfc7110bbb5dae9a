"""Request headers as recorded from real clients; response headers in pieces, changed, of others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.vmess_peers import RECORDED, USER
from support.vmess_server import Request, open_request, response_header

from mihomo_tproxy.codec.address import encode_port_address
from mihomo_tproxy.codec.vmess.header import (
    MAX_RESPONSE_BYTES,
    Account,
    Command,
    ResponseHeader,
    Security,
    encode_instruction,
    fnv1a,
)
from mihomo_tproxy.errors import AuthenticationFailed, ProtocolError, RemoteProtocolError

REQUEST = open_request(USER, bytes.fromhex(RECORDED["requests"][0]["wire"]))
RESPONSE = response_header(REQUEST, b"\x01\x05hello")


def header_of(request: Request) -> ResponseHeader:
    return ResponseHeader(request.key, request.iv, request.check)


@pytest.mark.parametrize("recorded", RECORDED["requests"])
def test_requests_are_those_of_real_clients(recorded: dict[str, str]) -> None:
    wire = bytes.fromhex(recorded["wire"])
    request = open_request(USER, wire)
    assert request.address == encode_port_address("example.com", 443)
    sealed = Account(USER).seal(request.instruction, request.time, request.random)
    assert sealed == wire[: request.size]
    code = (
        request.check,
        request.option,
        Security(request.security),
        Command(request.command),
    )
    instruction = encode_instruction(
        request.key, request.iv, code, request.address, request.padding
    )
    if recorded["peer"] == "v2ray":  # pads with random bytes
        end = -4 - request.padding
        assert instruction[:end] == request.instruction[:end]
    else:
        assert instruction == request.instruction


@pytest.mark.parametrize(
    ("data", "value"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)]
)
def test_fnv1a(data: bytes, value: int) -> None:
    """draft-eastlake-fnv, test vectors."""
    assert fnv1a(data) == value


def test_response_byte_by_byte() -> None:
    header = header_of(REQUEST)
    for byte in RESPONSE[:-1]:
        assert header.feed(bytes((byte,))) is None
    assert header.feed(RESPONSE[-1:] + b"payload") == b"payload"


@pytest.mark.parametrize("command", [b"\0\0", b"\x01\x05hello", b"\x01\xff" + bytes(255)])
def test_response_in_two_pieces_cut_anywhere(command: bytes) -> None:
    response = response_header(REQUEST, command)
    for cut in range(len(response)):
        header = header_of(REQUEST)
        assert header.feed(response[:cut]) is None
        assert header.feed(response[cut:] + b"payload") == b"payload"


@pytest.mark.parametrize("at", range(len(RESPONSE)))
def test_a_changed_response(at: int) -> None:
    changed = bytearray(RESPONSE)
    changed[at] ^= 1
    with pytest.raises(AuthenticationFailed) as caught:
        header_of(REQUEST).feed(changed)
    assert caught.value.cause == "vmess-bad-response"


def test_the_response_to_another_request() -> None:
    with pytest.raises(AuthenticationFailed):
        header_of(REQUEST).feed(response_header(REQUEST, check=REQUEST.check ^ 1))
    other = open_request(USER, bytes.fromhex(RECORDED["requests"][1]["wire"]))
    with pytest.raises(AuthenticationFailed):
        header_of(other).feed(RESPONSE)


@pytest.mark.parametrize("command", [b"", b"\0" * (MAX_RESPONSE_BYTES - 1)])
def test_a_response_of_a_size_that_cannot_be(command: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        header_of(REQUEST).feed(response_header(REQUEST, command))


@given(st.binary(max_size=400), st.integers(0, 400))
def test_arbitrary_bytes(data: bytes, cut: int) -> None:
    header = header_of(REQUEST)
    try:
        assert header.feed(data[:cut]) is None
        assert header.feed(data[cut:]) is None
    except ProtocolError:
        return
    assert len(data) < 18
