"""`type: http`."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.specs.http import HttpProxySpec
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.errors import ConfigError

ENTRY = "name: h, type: http, server: proxy.test, port: 3128"


def test_the_least() -> None:
    config = parse(f"proxies: [{{{ENTRY}}}]")
    assert config.proxies == (
        HttpProxySpec("h", "http", udp=False, server="proxy.test", port=3128),
    )
    assert config.warnings == ()


def test_everything() -> None:
    options = "username: u, password: 5, tls: true, sni: front.test, headers: {X-A: ' b ', N: 1}"
    config = parse(f"proxies: [{{{ENTRY}, {options}}}]")
    assert config.proxies == (
        HttpProxySpec(
            "h",
            "http",
            udp=False,
            server="proxy.test",
            port=3128,
            username="u",
            password="5",  # noqa: S106
            headers=(("X-A", "b"), ("N", "1")),
            tls=TlsSpec(server_name="front.test"),
        ),
    )
    assert config.warnings == ()


def test_the_server_is_the_name_in_tls() -> None:
    (spec,) = parse(f"proxies: [{{{ENTRY}, tls: true}}]").proxies
    assert isinstance(spec, HttpProxySpec)
    assert spec.tls == TlsSpec(server_name="proxy.test")


@pytest.mark.parametrize(
    ("options", "warning"),
    [
        ("udp: true", "proxies[0].udp: ignored: HTTP proxies carry no datagrams"),
        ("sni: a", "no effect without 'tls: true': sni"),
        ("user: a", "unknown key"),
    ],
)
def test_what_is_not_used_is_said(options: str, warning: str) -> None:
    config = parse(f"proxies: [{{{ENTRY}, {options}}}]")
    assert len(config.warnings) == 1
    assert warning in config.warnings[0]
    assert not config.proxies[0].udp


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ("headers: 5", "proxies[0].headers"),
        ("headers: {'A B': c}", "proxies[0].headers.A B"),
        ('headers: {A: "b\\r\\nC: d"}', "proxies[0].headers.A"),
        ("headers: {A: [b]}", "proxies[0].headers.A"),
    ],
)
def test_headers_that_cannot_be_sent(options: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"proxies: [{{{ENTRY}, {options}}}]")
    assert [problem.path for problem in caught.value.problems] == [path]
