"""The whole file: defaults, weak types, every bad input, and the texts the user reads."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.schema import Config, Gateway, LogLevel
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.toplevel import IGNORED_KEYS
from mihomo_tproxy.errors import ConfigError
from mihomo_tproxy.model.enums import TunnelMode


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return [str(problem) for problem in caught.value.problems]


def test_defaults_are_mihomos() -> None:
    assert parse("{}") == Config()
    assert parse("mode:\nrules:\nproxies:\nhosts:\ngateway:\n") == Config()
    assert Config().gateway == Gateway()


def test_everything_at_once() -> None:
    found = parse("""
mode: Rule
log-level: WARNING
allow-lan: true
bind-address: "[::1]"
ipv6: false
tproxy-port: 7893
routing-mark: 0x1a
interface-name: eth0
proxies:
  - {name: wan2, type: direct, interface-name: eth1, routing-mark: 7, ip-version: ipv4, udp: false}
  - {name: never, type: reject}
rules:
  - IP-CIDR,10.0.0.0/8,wan2
  - MATCH,never
""")
    assert found.mode is TunnelMode.RULE
    assert found.log_level is LogLevel.WARNING
    assert found.allow_lan
    assert found.bind_address == "::1"
    assert not found.ipv6
    assert (found.routing_mark, found.interface_name) == (26, "eth0")
    (tproxy,) = found.listeners
    assert (tproxy.name, tproxy.hosts, tproxy.port) == ("DEFAULT-TPROXY", ("::1",), 7893)
    assert found.proxies == (
        ProxySpec("wan2", "direct", "eth1", 7, "ipv4", False),
        ProxySpec("never", "reject"),
    )
    assert [repr(rule) for rule in found.rules] == ["IP-CIDR,10.0.0.0/8,wan2", "MATCH,never"]
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("mode: foo", "mode", "expected one of rule, global, direct, found 'foo'"),
        ("mode: [rule]", "mode", "expected one of rule, global, direct, found a list"),
        ("mode: rul", "mode", "did you mean 'rule'?"),
        ("log-level: warn", "log-level", "did you mean 'warning'?"),
        ("allow-lan: maybe", "allow-lan", "expected true or false, found 'maybe'"),
        ("allow-lan: 2", "allow-lan", "expected true or false, found '2'"),
        ("ipv6: {}", "ipv6", "expected true or false, found a mapping"),
        ("tproxy-port: 65536", "tproxy-port", "65536 is out of range, 0 to 65535 is allowed"),
        ("tproxy-port: -1", "tproxy-port", "-1 is out of range"),
        ("tproxy-port: http", "tproxy-port", "expected a whole number, found 'http'"),
        ("tproxy-port: 1.5", "tproxy-port", "expected a whole number, found '1.5'"),
        ("tproxy-port: .inf", "tproxy-port", "expected a whole number, found 'inf'"),
        ("tproxy-port: true", "tproxy-port", "expected a whole number, found 'true'"),
        ("tproxy-port: [1]", "tproxy-port", "expected a whole number, found a list"),
        ("routing-mark: 0x100000000", "routing-mark", "out of range"),
        ("bind-address: eth0", "bind-address", "expected '*' or an address"),
        ("bind-address: {}", "bind-address", "expected a text, found a mapping"),
        ("interface-name: a/b", "interface-name", "not an interface name: 'a/b'"),
        ("rules: MATCH,DIRECT", "rules", "expected a list, found 'MATCH,DIRECT'"),
        ("rules: {}", "rules", "expected a list, found a mapping"),
        ("rules: [{}]", "rules[0]", "expected a text, found a mapping"),
        ("rules: [null]", "rules[0]", "expected a text, found nothing"),
        ("rules: [5]", "rules[0]", "unknown rule kind '5'"),
        ("proxies: {}", "proxies", "expected a list, found a mapping"),
        ("hosts: []", "hosts", "expected a mapping, found a list"),
        ("gateway: on", "gateway", "expected a mapping, found 'on'"),
        ("mode: rule\nmode: direct", "mode", "given twice, first on line 1"),
    ],
)
def test_refused(text: str, path: str, says: str) -> None:
    (found,) = errors(text)
    line = text.count("\n") + 1
    assert found.startswith(f"line {line}: {path}: ")
    assert says in found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("[1]", "line 1: expected a mapping, found a list"),
        ("text", "line 1: expected a mapping, found 'text'"),
    ],
)
def test_no_mapping_at_all(text: str, found: str) -> None:
    assert errors(text) == [found]


def test_every_problem_at_once_in_file_order() -> None:
    text = """\
mode: foo
tproxy-port: 70000
proxies:
  - {name: s, type: snel}
  - name: d
    type: direct
    interface-name: an-interface-name-too-long
rules:
  - DOMAIN-SUFIX,example.com,DIRECT
  - IP-CIDR,10.0.0.0,DIRECT
  - REMATCH-NAME,CN,DIRECT
  - MATCH,Proxy
mode: direct
proxy-groups: [{name: Proxy, type: select, proxies: [DIRCT]}]
hosts:
  a..b: 1.2.3.4
gateway:
  lan: [a/b]
  workers: 0
"""
    assert (
        "\n".join(errors(text))
        == """\
line 1: mode: expected one of rule, global, direct, found 'foo'
line 2: tproxy-port: 70000 is out of range, 0 to 65535 is allowed
line 4: proxies[0]: unknown type 'snel', did you mean 'snell'?
line 7: proxies[1].interface-name: not an interface name: 'an-interface-name-too-long' \
(longer than 15 bytes)
line 9: rules[0]: unknown rule kind 'DOMAIN-SUFIX', did you mean 'DOMAIN-SUFFIX'?
line 10: rules[1]: not a CIDR: '10.0.0.0' (an address needs its length, as in 192.0.2.1/32)
line 11: rules[2]: rule kind 'REMATCH-NAME' is not supported by this version
line 13: mode: given twice, first on line 1
line 14: proxy-groups[0].proxies[0]: there is no proxy or group 'DIRCT', did you mean 'DIRECT'?
line 16: hosts.a..b: not a host name: 'a..b'
line 18: gateway.lan[0]: not an interface name: 'a/b' (no blanks, '/' or ':' allowed)
line 19: gateway.workers: 0 is out of range, 1 to 16 is allowed"""
    )


def test_warnings() -> None:
    found = parse("""\
dns: {enable: true}
tproxy-prot: 1
external-controller: 127.0.0.1:9090
zzz: 1
hosts: {a.b: 1.2.3.4}
gateway: {bypas: []}
rules: ["MATCH,DIRECT", "MATCH,REJECT"]
""")
    assert found.warnings == (
        "line 7: rules: MATCH decides everything: 1 after it never apply",
        "line 6: gateway.bypas: unknown key, did you mean 'bypass'?",
        "ignored, no effect in this version: dns (line 1), external-controller (line 3)",
        "line 2: tproxy-prot: unknown key, did you mean 'tproxy-port'?",
        "line 4: zzz: unknown key",
    )


def test_every_key_of_mihomo_is_known() -> None:
    text = "".join(f"{key}: 0\n" for key in sorted(IGNORED_KEYS))
    (warning,) = parse(text).warnings
    assert warning.removeprefix("ignored, no effect in this version: ").split(", ") == [
        f"{key} (line {line})" for line, key in enumerate(sorted(IGNORED_KEYS), 1)
    ]


def test_how_downloads_ask():
    config = parse("global-ua: mine/1\netag-support: false\n")
    assert (config.global_ua, config.etag_support) == ("mine/1", False)
    assert (parse("{}").global_ua, parse("{}").etag_support) == ("", True)
