"""Heads, bodies and targets of HTTP/1.x, and the client's side of CONNECT."""

from __future__ import annotations

from mihomo_tproxy.codec.http1 import MAX_HEAD_BYTES, HeadReader, parse_request, parse_response
from mihomo_tproxy.codec.http1_body import request_body, response_body
from mihomo_tproxy.codec.http1_target import parse_absolute, parse_authority, parse_basic
from mihomo_tproxy.codec.http_connect import ConnectFields, HttpConnect
from mihomo_tproxy.errors import ProtocolError

FIELDS = ConnectFields("user", "pass")


def target(data: bytes) -> None:
    """Nothing but a ProtocolError escapes, and no body is longer than what came."""
    for side in (_request, _response, _connect):
        try:
            side(data)
        except ProtocolError:
            pass


def _request(data: bytes) -> None:
    found = HeadReader().feed(data)
    if found is None:
        assert len(data) <= MAX_HEAD_BYTES + 4
        return
    request = parse_request(found[0])
    for _, value in request.headers:
        parse_basic(value)
    assert request_body(request).take(found[1]) <= len(found[1])
    (parse_authority if request.method == "CONNECT" else parse_absolute)(request.target)


def _response(data: bytes) -> None:
    found = HeadReader(b"HTTP/").feed(data)
    if found is not None:
        body = response_body(parse_response(found[0]), "GET")
        assert body.take(found[1]) <= len(found[1])
        body.feed_eof()


def _connect(data: bytes) -> None:
    layer = HttpConnect(FIELDS, "example.com", 443)
    layer.begin()
    half = len(data) // 2
    payload = bytes(layer.feed(data[:half])) + bytes(layer.feed(data[half:]))
    assert data.endswith(payload)
    layer.feed_eof()
