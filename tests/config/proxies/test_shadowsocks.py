"""`type: ss`."""

from __future__ import annotations

import pytest
from support.refusing import complaints

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.proxies.shadowsocks import OTHER_PLUGINS
from mihomo_tproxy.config.specs.shadowsocks import ObfsSpec, ShadowsocksSpec

SERVER = "name: s, type: ss, server: proxy.test, port: 8388"
SECRET = f"{SERVER}, cipher: aes-128-gcm, password: secret"
KEY = "AAECAwQFBgcICQoLDA0ODw=="


def parsed(entry: str) -> ShadowsocksSpec:
    config = parse(f"proxies: [{{{entry}}}]")
    (spec,) = config.proxies
    assert isinstance(spec, ShadowsocksSpec)
    assert config.warnings == ()
    return spec


def test_the_least() -> None:
    assert parsed(SECRET) == ShadowsocksSpec(
        name="s",
        type="ss",
        server="proxy.test",
        port=8388,
        udp=False,
        cipher="aes-128-gcm",
        password="secret",  # noqa: S106
    )


def test_everything() -> None:
    options = "udp: true, udp-over-tcp: true, udp-over-tcp-version: 1, tfo: true"
    spec = parsed(f"{SECRET}, {options}, plugin: obfs, plugin-opts: {{mode: tls, host: a.test}}")
    assert (spec.udp, spec.udp_over_tcp, spec.udp_over_tcp_version) == (True, True, 1)
    assert spec.obfs == ObfsSpec("tls", "a.test")


def test_names_of_methods() -> None:
    assert parsed(f"{SERVER}, cipher: AEAD_AES_256_GCM, password: x").cipher == "aes-256-gcm"
    assert parsed(f"{SERVER}, cipher: dummy").cipher == "none"


def test_keys_of_2022() -> None:
    entry = f'{SERVER}, cipher: 2022-blake3-aes-128-gcm, password: "{KEY}:{KEY}"'
    assert parsed(entry).password == f"{KEY}:{KEY}"


def test_defaults_of_mihomo() -> None:
    assert parsed(f"{SECRET}, udp-over-tcp-version: 0").udp_over_tcp_version == 2
    spec = parsed(f"{SECRET}, plugin: obfs, plugin-opts: {{mode: http}}")
    assert spec.obfs == ObfsSpec("http", "bing.com")


@pytest.mark.parametrize(
    ("entry", "path", "says"),
    [
        (SERVER, "proxies[0]", "'cipher' is missing"),
        (f"{SERVER}, cipher: aes-128-gcm", "proxies[0]", "'password' is missing"),
        (f"{SERVER}, cipher: aes-128-gmc, password: x", "proxies[0].cipher", "'aes-128-gcm'?"),
        (
            f"{SERVER}, cipher: rc4-md5, password: x",
            "proxies[0].cipher",
            "cipher 'rc4-md5' is not supported",
        ),
        (
            f"{SERVER}, cipher: 2022-blake3-aes-256-gcm, password: {KEY}",
            "proxies[0].password",
            "wants base64 of 32 bytes, found 16 bytes",
        ),
        (f"{SECRET}, udp-over-tcp-version: 3", "proxies[0].udp-over-tcp-version", "out of range"),
        (f"{SECRET}, plugin: obsf", "proxies[0].plugin", "did you mean 'obfs'?"),
        (f"{SECRET}, plugin: obfs", "proxies[0].plugin-opts.mode", "expected one of http, tls"),
        (
            f'{SECRET}, plugin: obfs, plugin-opts: {{mode: http, host: "a\\r\\nb"}}',
            "proxies[0].plugin-opts.host",
            "not a host name",
        ),
    ],
)
def test_refused(entry: str, path: str, says: str) -> None:
    (problem,) = complaints(f"proxies: [{{{entry}}}]")
    assert problem.path == path
    assert says in problem.message


@pytest.mark.parametrize("plugin", OTHER_PLUGINS)
def test_other_plugins_are_refused_by_name(plugin: str) -> None:
    text = f"proxies: [{{{SECRET}, plugin: {plugin}, plugin-opts: {{mode: websocket}}}}]"
    (problem,) = complaints(text)
    assert problem.path == "proxies[0].plugin"
    assert f"left out: '{plugin}' is not supported by this version" in problem.message


def test_what_has_no_effect_is_named() -> None:
    config = parse(
        f"proxies: [{{{SECRET}, client-fingerprint: chrome, plugin: obfs, "
        "plugin-opts: {mode: tls, hots: a}}]"
    )
    assert [warning.split(": ", 2)[1] for warning in config.warnings] == [
        "proxies[0].plugin-opts.hots",
        "proxies[0].client-fingerprint",
    ]
