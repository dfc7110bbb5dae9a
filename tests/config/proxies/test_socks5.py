"""`type: socks5`."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.specs.socks5 import Socks5Spec
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.errors import ConfigError

ENTRY = "name: s, type: socks5, server: '[2001:db8::1]', port: 1080"


def test_the_least() -> None:
    config = parse(f"proxies: [{{{ENTRY}}}]")
    assert config.proxies == (
        Socks5Spec("s", "socks5", udp=False, server="2001:db8::1", port=1080),
    )
    assert config.warnings == ()


def test_everything() -> None:
    options = "username: u, password: p, udp: true, tls: true, skip-cert-verify: true"
    config = parse(f"proxies: [{{{ENTRY}, {options}}}]")
    assert config.proxies == (
        Socks5Spec(
            "s",
            "socks5",
            server="2001:db8::1",
            port=1080,
            username="u",
            password="p",  # noqa: S106
            tls=TlsSpec(server_name="2001:db8::1", skip_cert_verify=True),
        ),
    )
    assert config.warnings == ()


def test_another_name_in_tls() -> None:
    (spec,) = parse(f"proxies: [{{{ENTRY}, tls: true, sni: front.test}}]").proxies
    assert isinstance(spec, Socks5Spec)
    assert spec.tls == TlsSpec(server_name="front.test")


def test_a_password_without_a_user() -> None:
    config = parse(f"proxies: [{{{ENTRY}, password: p}}]")
    assert len(config.warnings) == 1
    assert "proxies[0].password: no effect without 'username'" in config.warnings[0]


@pytest.mark.parametrize("key", ["username", "password"])
def test_credentials_that_do_not_fit(key: str) -> None:
    text = "é" * 128
    with pytest.raises(ConfigError) as caught:
        parse(
            f"proxies: [{{{ENTRY}, username: u, {key}: {text}}}]".replace(
                "username: u, user", "user"
            )
        )
    assert [problem.path for problem in caught.value.problems] == [f"proxies[0].{key}"]
