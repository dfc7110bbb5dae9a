"""Entries of a provider to proxies. Orders and names are what mihomo 1.19.32 makes of them."""

from __future__ import annotations

import pickle
from collections import Counter

import pytest

from mihomo_tproxy.provider.proxy_content import (
    MAX_KEYS,
    MAX_NAME,
    Parsing,
    parse_content,
    reasons_text,
    validate,
)

REST = "type: socks5, server: a.test, port: 1"
FILE = f"""
proxies:
- {{name: HK 1, {REST}}}
- {{name: hk 2, {REST}, udp: true}}
- {{name: US 1, {REST}}}
- {{name: US 1, {REST}, udp: true}}
- {{name: 5, {REST}}}
- {{name: tw, type: http, server: a.test, port: 1}}
- {{{REST}}}
""".encode()


def names(**fields: object) -> list[str]:
    return [spec.name for spec in parse_content(FILE, Parsing(**fields)).proxies]  # type: ignore[arg-type]


def test_names_that_are_none_or_came_before_are_left_out() -> None:
    brought = parse_content(FILE, Parsing())
    assert [spec.name for spec in brought.proxies] == ["HK 1", "hk 2", "US 1", "tw"]
    assert [spec.udp for spec in brought.proxies] == [False, True, False, False]
    assert brought.skipped == {"no name": 2}
    assert brought.warnings == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"filter": "us`(?i)hk"}, ["HK 1", "hk 2"]),
        ({"filter": "(?i)us`hk`"}, ["US 1", "hk 2", "HK 1", "tw"]),
        ({"filter": "zzz"}, []),
        ({"exclude_filter": "1`tw"}, ["hk 2"]),
        ({"exclude_filter": "1|tw"}, ["hk 2"]),
        ({"exclude_types": frozenset({"http", "ss"})}, ["HK 1", "hk 2", "US 1"]),
        ({"exclude_types": frozenset({"socks5"})}, ["tw"]),
    ],
)
def test_filters(fields: dict[str, object], expected: list[str]) -> None:
    assert names(**fields) == expected


def test_names_are_overridden_after_filters() -> None:
    renames = (("(?<x>HK) (\\d)", "$2-${x}"), ("^P", "zz"))
    expected = ["P HK-HK S", "P hk 2 S"]
    assert names(filter="^(?i)hk", renames=renames, prefix="P ", suffix=" S") == expected


def test_options() -> None:
    options = (
        ("udp", True),
        ("routing-mark", 5),
        ("dialer-proxy", "x"),
        ("skip-cert-verify", True),
        ("udp-over-tcp", True),
    )
    brought = parse_content(FILE, Parsing(options=options))
    assert [spec.udp for spec in brought.proxies] == [True, True, True, False]
    assert {spec.routing_mark for spec in brought.proxies} == {5}
    assert {spec.dialer_proxy for spec in brought.proxies} == {"x"}
    assert brought.warnings == {}


def test_options_of_tls() -> None:
    data = b"trojan://p@a.test:1#t\nvless://b831381d-6324-4d53-ad4f-8cda48b30811@a.test:1#v"
    first, second = parse_content(data, Parsing(options=(("skip-cert-verify", True),))).proxies
    assert first.tls.skip_cert_verify  # type: ignore[attr-defined]
    assert second.tls is None  # type: ignore[attr-defined]


def test_last_word_on_an_option() -> None:
    options = (("dialer-proxy", "first"), ("dialer-proxy", "second"))
    assert parse_content(FILE, Parsing(options=options)).proxies[0].dialer_proxy == "second"


def test_bad_entries_are_counted_by_reason() -> None:
    many = ", ".join(f"k{number}: 1" for number in range(MAX_KEYS))
    data = f"""
    proxies:
    - {{name: a, type: tuic}}
    - {{name: b, type: tuic}}
    - {{name: c, type: socks5, server: a.test, port: 99999}}
    - {{name: d, {many}}}
    - {{name: {"n" * (MAX_NAME + 1)}, {REST}}}
    - {{name: f, type: trojan, server: a.test, port: 1, password: x, certificate: /dev/stdin}}
    - {{name: e, {REST}, sni: odd, unknown: x}}
    """.encode()
    brought = parse_content(data, Parsing())
    assert [spec.name for spec in brought.proxies] == ["e"]
    assert brought.skipped == {
        "type 'tuic' is not supported by this version": 2,
        "port: 99999 is out of range, 1 to 65535 is allowed": 1,
        "too many keys": 1,
        "names a file of this machine": 1,
        "a name that is too long": 1,
    }


def test_names_stay_bounded() -> None:
    (name, *_) = names(renames=(("", "x" * 600), ("", "y" * 600)))
    assert len(name) == MAX_NAME


def test_validate() -> None:
    assert validate(FILE, pickle.dumps(Parsing(filter="(?i)hk"))) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>", "neither links nor YAML"),
        (b"proxies: [{name: a, type: tuic}]", r"of use: type 'tuic' is not .* \(1\)"),
        (b"proxies: [{name: a, type: direct}]", "of use$"),
    ],
)
def test_nothing_to_validate(data: bytes, reason: str) -> None:
    parsing = pickle.dumps(Parsing(exclude_types=frozenset({"direct"})))
    with pytest.raises(ValueError, match=reason):
        validate(data, parsing)


def test_reasons() -> None:
    assert reasons_text(Counter()) == ""
    assert reasons_text(Counter(a=1, b=3)) == ": b (3), a (1)"
    assert reasons_text(Counter("abcd"), 2) == ": a (1), b (1), ..."
