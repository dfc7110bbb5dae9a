"""TLS keys of an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.tls import certificate

from mihomo_tproxy.config.proxies.tls import BROWSERS, DISGUISES, parse_switched_tls, parse_tls
from mihomo_tproxy.config.report import Report
from mihomo_tproxy.config.section import Section
from mihomo_tproxy.config.specs.tls import TlsSpec
from mihomo_tproxy.config.yaml import load_text

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "e8:A9:" + ":".join(f"{byte:02x}" for byte in range(30))


def section(text: str) -> Section:
    document = load_text(text)
    return Section(Report(document), "", document.value)


def parsed(text: str, **options) -> TlsSpec:
    entry = section(text)
    spec = parse_tls(entry, "server.test", **options)
    assert entry.report.problems == []
    return spec


def problem(text: str) -> tuple[str, str, int | None]:
    entry = section(text)
    parse_tls(entry, "server.test")
    (found,) = entry.report.problems
    return found.path, found.message, found.line


def test_what_an_empty_entry_means() -> None:
    assert parsed("{}") == TlsSpec(server_name="server.test")
    assert parsed("{}", default_alpn=("h2",)).alpn == ("h2",)


def test_every_key() -> None:
    text = f"""
sni: front.test
alpn: [h2, http/1.1]
skip-cert-verify: "true"
name-cert-verify: behind.test
fingerprint: {DIGEST}
"""
    assert parsed(text, default_alpn=("x",)) == TlsSpec(
        server_name="front.test",
        alpn=("h2", "http/1.1"),
        skip_cert_verify=True,
        name_cert_verify="behind.test",
        fingerprint=bytes.fromhex("e8a9") + bytes(range(30)),
    )


def test_the_name_goes_by_two_names() -> None:
    assert parsed("servername: a.test", name_key="servername").server_name == "a.test"
    entry = section("servername: a.test")
    assert parse_tls(entry, "server.test").server_name == "server.test"
    entry.warn_unknown()
    assert "unknown key" in entry.report.warnings[0]


def test_no_alpn_on_request() -> None:
    assert parsed("alpn: []", default_alpn=("h2",)).alpn == ()


def test_a_browser_to_look_like_is_warned_of_once() -> None:
    entry = section("client-fingerprint: chrome")
    parse_tls(entry, "a.test")
    parse_tls(entry, "b.test")
    assert entry.report.problems == []
    (warning,) = entry.report.warnings
    assert "client-fingerprint is ignored" in warning
    for none in ("none", "''"):
        entry = section(f"client-fingerprint: {none}")
        parse_tls(entry, "a.test")
        assert entry.report.warnings == []


@pytest.mark.parametrize("key", sorted(DISGUISES))
def test_disguises_are_refused(key: str) -> None:
    path, message, line = problem(f"sni: a\n{key}: {{enable: true, public-key: x}}")
    assert (path, line) == (key, 2)
    assert message == f"{DISGUISES[key]} is not supported by this version"


@pytest.mark.parametrize(
    "text", ["ech-opts: {enable: false, config: x}", "reality-opts: {public-key: ''}", "ech-opts:"]
)
def test_disguises_that_are_switched_off(text: str) -> None:
    assert parsed(text) == TlsSpec(server_name="server.test")


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("fingerprint: abcd", "fingerprint", "64 hex digits"),
        ("fingerprint: " + "xy" * 32, "fingerprint", "64 hex digits"),
        ("fingerprint: chrome", "fingerprint", "'client-fingerprint'"),
        ("sni: .a.test", "sni", "not a host name: '.a.test'"),
        ("sni: " + "a" * 64 + ".test", "sni", "not a host name"),
        ('sni: "a\\0b"', "sni", "not a host name"),
        ("name-cert-verify: a..b", "name-cert-verify", "not a host name"),
        ("alpn: [h2, '']", "alpn[1]", "1 to 255"),
        ("alpn: [é]", "alpn[0]", "ASCII"),
        ("alpn: h2", "alpn", "expected a list"),
        ("certificate: /nonexistent", "certificate", "nor a readable file: No such file"),
        ("private-key: '-----BEGIN X'", "private-key", "'certificate' missing"),
        ("certificate: '-----BEGIN X'", "certificate", "'private-key' missing"),
        (
            "certificate: '-----BEGIN X'\nprivate-key: '-----BEGIN X'",
            "certificate",
            "cannot be used with its 'private-key': ",
        ),
        ("skip-cert-verify: maybe", "skip-cert-verify", "true or false"),
    ],
)
def test_refused(text: str, path: str, says: str) -> None:
    found = problem(text)
    assert (found[0], found[2]) == (path, 1)
    assert says in found[1]


def test_every_browser_is_known_by_name() -> None:
    assert all("client-fingerprint" in problem(f"fingerprint: '{name}'")[1] for name in BROWSERS)


def test_a_certificate_of_our_own(tmp_path: Path) -> None:
    leaf = certificate()
    cert = leaf.cert_chain_pems[0].bytes().decode()
    key = leaf.private_key_pem.bytes().decode()
    expected = TlsSpec(server_name="server.test", certificate=cert, private_key=key)
    inline = "".join(
        f"{name}: |\n" + "".join(f"  {line}\n" for line in pem.splitlines())
        for name, pem in (("certificate", cert), ("private-key", key))
    )
    assert parsed(inline) == expected
    (tmp_path / "cert.pem").write_text(cert)
    (tmp_path / "key.pem").write_text(key)
    text = f"certificate: {tmp_path}/cert.pem\nprivate-key: {tmp_path}/key.pem"
    assert parsed(text) == expected
    (tmp_path / "key.pem").write_bytes(b"\xff\xfe")
    assert problem(text)[:2] == (
        "private-key",
        "neither PEM text nor a readable file: not a PEM file",
    )


def test_the_switch() -> None:
    on = section("{tls: true, sni: a.test}")
    assert parse_switched_tls(on, "server.test") == TlsSpec(server_name="a.test")
    off = section("{tls: false, sni: a.test, reality-opts: {public-key: x}, alpn: [h2]}")
    assert parse_switched_tls(off, "server.test") is None
    off.warn_unknown()
    assert off.report.problems == []
    assert off.report.warnings == ["line 1: no effect without 'tls: true': sni, alpn, reality-opts"]
