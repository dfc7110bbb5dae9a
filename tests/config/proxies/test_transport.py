"""`network` and its options: mihomo's defaults and conventions, and what is refused."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.proxies.transport import parse_transport
from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.transport import (
    GrpcSpec,
    H2Spec,
    HttpSpec,
    TransportSpec,
    WebSocketSpec,
)
from mihomo_tproxy.config.yaml import load_text

ALL = ("ws", "http", "h2", "grpc")
SERVER = (("Host", "srv"),)


def parsed(text: str, allowed: tuple[str, ...] = ALL) -> tuple[TransportSpec | None, Report]:
    document = load_text(text)
    report = Report(document)
    section = Section(report, "", document.value)
    spec = parse_transport(section, "srv", allowed)
    section.warn_unknown()
    return spec, report


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("{}", None),
        ("network: tcp", None),
        ("network: TCP", None),
        ("network: ws", WebSocketSpec("/", SERVER)),
        ("network: ws\nws-opts: {path: p}", WebSocketSpec("/p", SERVER)),
        ("network: ws\nws-opts: {path: '/a b/\u00e4%20?x=1 2'}", "/a%20b/%C3%A4%20?x=1%202"),
        (
            "network: ws\nws-opts: {path: '/p?a=1&ed=2048&b=2'}",
            WebSocketSpec("/p?a=1&b=2", SERVER, 2048, "Sec-WebSocket-Protocol"),
        ),
        (
            "network: ws\nws-opts: {path: '/p?ed=99999999'}",
            WebSocketSpec("/p", SERVER, 65535, "Sec-WebSocket-Protocol"),
        ),
        ("network: ws\nws-opts: {path: '/p?ed=no'}", WebSocketSpec("/p?ed=no", SERVER)),
        (
            "network: ws\nws-opts: {headers: {X-A: 5, host: h, X-B: [b, c]}, max-early-data: 9}",
            WebSocketSpec("/", (("X-A", "5"), ("host", "h"), ("X-B", "b")), 9),
        ),
        (
            "network: ws\nws-opts: {max-early-data: 9, early-data-header-name: X-E}",
            WebSocketSpec("/", SERVER, 9, "X-E"),
        ),
        (
            "network: ws\nws-opts: {v2ray-http-upgrade: true, v2ray-http-upgrade-fast-open: true}",
            WebSocketSpec("/", SERVER, http_upgrade=True, http_upgrade_fast_open=True),
        ),
        ("network: http", HttpSpec(headers=(("Host", ("srv",)),))),
        (
            "network: http\nhttp-opts: {method: PUT, path: [/a, b], headers: {Host: [x, y], A: 1}}",
            HttpSpec("PUT", ("/a", "/b"), (("Host", ("x", "y")), ("A", ("1",)))),
        ),
        (
            "network: http\nhttp-opts: {path: /a}",
            HttpSpec("GET", ("/a",), (("Host", ("srv",)),)),
        ),
        ("network: h2", H2Spec(("www.example.com",))),
        ("network: h2\nh2-opts: {host: [a, b], path: /p}", H2Spec(("a", "b"), "/p")),
        ("network: h2\nh2-opts: {host: a}", H2Spec(("a",))),
        ("network: grpc", GrpcSpec("GunService")),
        (
            "network: grpc\ngrpc-opts: {grpc-service-name: s, grpc-user-agent: u}",
            GrpcSpec("s", "u"),
        ),
    ],
)
def test_understood(text: str, spec: TransportSpec | str | None) -> None:
    found, report = parsed(text)
    if isinstance(spec, str):
        assert isinstance(found, WebSocketSpec)
        assert found.path == spec
    else:
        assert found == spec
    assert (report.problems, report.warnings) == ([], [])


def test_an_ipv6_server_has_brackets_in_host() -> None:
    document = load_text("network: ws")
    section = Section(Report(document), "", document.value)
    found = parse_transport(section, "2001:db8::1", ALL)
    assert isinstance(found, WebSocketSpec)
    assert found.headers == (("Host", "[2001:db8::1]"),)


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("network: xhttp", "network", "'xhttp' is not supported here, expected one of tcp, ws"),
        ("network: h3", "network", "unknown network 'h3'"),
        ("network: ws\nws-opts: 5", "ws-opts", "expected a mapping"),
        ("network: ws\nws-opts: {headers: [a]}", "ws-opts.headers", "expected a mapping"),
        ("network: ws\nws-opts: {headers: {a b: c}}", "ws-opts.headers", "'a b' is no header"),
        (
            'network: ws\nws-opts: {headers: {X: "a\\r\\nb"}}',
            "ws-opts.headers.X",
            "control characters",
        ),
        ("network: ws\nws-opts: {headers: {X: {}}}", "ws-opts.headers.X", "expected a text"),
        (
            "network: ws\nws-opts: {headers: {upgrade: h2c}}",
            "ws-opts.headers",
            "'upgrade' belongs to the handshake",
        ),
        ("network: ws\nws-opts: {max-early-data: 70000}", "ws-opts.max-early-data", "range"),
        (
            "network: ws\nws-opts: {early-data-header-name: 'a:b'}",
            "ws-opts.early-data-header-name",
            "'a:b' is no header name",
        ),
        ("network: http\nhttp-opts: {method: 'GET /'}", "http-opts.method", "no HTTP method"),
        ("network: http\nhttp-opts: {path: [[a]]}", "http-opts.path", "expected a list of texts"),
        ("network: h2\nh2-opts: {host: ['']}", "h2-opts.host", "'' is no host"),
        (
            'network: grpc\ngrpc-opts: {grpc-user-agent: "\\n"}',
            "grpc-opts.grpc-user-agent",
            "not a header value",
        ),
        (
            'network: grpc\ngrpc-opts: {grpc-service-name: "a b"}',
            "grpc-opts.grpc-service-name",
            "not part of a path",
        ),
    ],
)
def test_refused(text: str, path: str, says: str) -> None:
    _, report = parsed(text)
    assert [problem.path for problem in report.problems] == [path]
    assert says in report.problems[0].message


def test_a_network_that_the_type_has_not() -> None:
    found, report = parsed("network: h2", ("ws", "grpc"))
    assert found is None
    assert report.problems[0].message == (
        "network 'h2' is not supported here, expected one of tcp, ws, grpc"
    )


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("ws-opts: {path: /}", "line 1: ws-opts: ignored: 'network' is 'tcp'"),
        ("network: ws\ngrpc-opts: {}", "line 2: grpc-opts: ignored: 'network' is 'ws'"),
        (
            "network: ws\nws-opts: {pth: /}",
            "line 2: ws-opts.pth: unknown key, did you mean 'path'?",
        ),
        (
            "network: ws\nws-opts: {v2ray-http-upgrade-fast-open: true}",
            "line 2: ws-opts.v2ray-http-upgrade-fast-open: ignored without 'v2ray-http-upgrade'",
        ),
        (
            "network: grpc\ngrpc-opts: {ping-interval: 5, max-streams: 1}",
            "line 2: grpc-opts: ignored: ping-interval, max-streams: each flow has a connection of"
            " its own",
        ),
    ],
)
def test_warned_of(text: str, warning: str) -> None:
    _, report = parsed(text)
    assert report.warnings == [warning]
    assert report.problems == []
