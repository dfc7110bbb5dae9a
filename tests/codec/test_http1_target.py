"""Targets and credentials of HTTP/1.x requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mihomo_tproxy.codec.http1_target import (
    Absolute,
    encode_authority,
    encode_basic,
    parse_absolute,
    parse_authority,
    parse_basic,
)
from mihomo_tproxy.errors import LocalProtocolError, ProtocolError, RemoteProtocolError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("example.com:443", "example.com", 443),
        ("EXAMPLE.com.:443", "example.com", 443),
        ("192.0.2.1:80", "192.0.2.1", 80),
        ("[2001:DB8::1]:8080", "2001:db8::1", 8080),
        ("a_b.example:65535", "a_b.example", 65535),
    ],
)
def test_an_authority(text: str, host: str, port: int) -> None:
    assert parse_authority(text) == (host, port)


def test_a_default_port() -> None:
    assert parse_authority("a", 80) == ("a", 80)
    assert parse_authority("a:", 80) == ("a", 80)
    assert parse_authority("[::1]", 80) == ("::1", 80)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ":",
            ":80",
            "a",
            "a:",
            "a:0",
            "a:65536",
            "a:123456",
            "a:b",
            "a:+1",
            "a b:1",
            "::1:80",
        ),
        *("[::1", "[::g]:1", "[]:1", "[1.2.3.4]:1", "u@a:1", "a/b:1", "a?:1", "é:1", ".:1"),
        "x" * 256 + ":1",
    ],
)
def test_what_is_no_authority(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_authority(text)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("http://A.example/x?y#z", Absolute("http", "a.example", 80, "/x?y", "A.example")),
        ("http://a:8080", Absolute("http", "a", 8080, "/", "a:8080")),
        ("http://a?q", Absolute("http", "a", 80, "/?q", "a")),
        ("HTTPS://u:p@[::1]/", Absolute("https", "::1", 443, "/", "[::1]")),
        ("ftp://a:21/", Absolute("ftp", "a", 21, "/", "a:21")),
    ],
)
def test_absolute_form(target: str, expected: Absolute) -> None:
    assert parse_absolute(target) == expected


@pytest.mark.parametrize(
    "target", ["", "/", "*", "a:443", "http:///x", "ftp://a/", "http:/a", "http://a b/"]
)
def test_what_is_not_absolute(target: str) -> None:
    with pytest.raises(RemoteProtocolError):
        parse_absolute(target)


@given(st.text(max_size=30))
def test_only_protocol_errors_escape(text: str) -> None:
    for parse in (parse_authority, parse_absolute):
        try:
            parse(text)
        except ProtocolError:
            pass
    parse_basic("Basic " + text)


@pytest.mark.parametrize(
    ("host", "port", "text"),
    [
        ("example.com", 443, "example.com:443"),
        ("192.0.2.1", 80, "192.0.2.1:80"),
        ("fe80::1%eth0", 80, "[fe80::1]:80"),
    ],
)
def test_an_authority_written(host: str, port: int, text: str) -> None:
    assert encode_authority(host, port) == text
    assert parse_authority(text) == (host.partition("%")[0], port)


@pytest.mark.parametrize("host", ["", "a b", "a\r\nX", "é.example", "a/b", "u@h", "x" * 256])
def test_hosts_that_cannot_be_named(host: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_authority(host, 1)


def test_basic_credentials() -> None:
    # RFC 7617, 2 and 2.1
    assert encode_basic("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert encode_basic("test", "123£") == "Basic dGVzdDoxMjPCow=="
    assert parse_basic("basic  QWxhZGRpbjpvcGVuIHNlc2FtZQ==") == (b"Aladdin", b"open sesame")
    assert parse_basic(encode_basic("a", "b:c")) == (b"a", b"b:c")


@pytest.mark.parametrize(
    "value", ["", "Basic", "Basic ?", "Basic YQ==", "Bearer YTpi", "Basic YTpi x"]
)
def test_no_credentials(value: str) -> None:
    assert parse_basic(value) is None
