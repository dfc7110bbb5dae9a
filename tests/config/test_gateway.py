"""The gateway block."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.schema import OnFailure
from mihomo_tproxy.errors import ConfigError
from mihomo_tproxy.model.address import address_key


def test_all_keys() -> None:
    found = parse("""
gateway:
  lan: [br-lan, "eth*"]
  bypass: [10.0.0.0/8, "2001:db8::1"]
  bypass-private: false
  clients:
    include: [192.168.1.0/24, "AA:bb:cc:dd:ee:FF"]
    exclude: [192.168.1.9, 00-11-22-33-44-55]
  local: true
  on-failure: closed
  workers: "2"
  nice: 5
  verdict-cache: no
  udp-timeout: 30
  tcp-idle-timeout: 600
  max-flows: 1000
""")
    gateway = found.gateway
    assert found.warnings == ()
    assert gateway.lan == ("br-lan", "eth*")
    assert gateway.bypass == ((address_key("10.0.0.0"), 104), (address_key("2001:db8::1"), 128))
    assert gateway.clients.include_prefixes == ((address_key("192.168.1.0"), 120),)
    assert gateway.clients.include_macs == (bytes.fromhex("aabbccddeeff"),)
    assert gateway.clients.exclude_prefixes == ((address_key("192.168.1.9"), 128),)
    assert gateway.clients.exclude_macs == (bytes.fromhex("001122334455"),)
    assert (gateway.bypass_private, gateway.local, gateway.verdict_cache) == (False, True, False)
    assert gateway.on_failure is OnFailure.CLOSED
    assert (gateway.workers, gateway.udp_timeout, gateway.tcp_idle_timeout) == (2, 30, 600)
    assert (gateway.max_flows, gateway.nice) == (1000, 5)


def test_all_of_v6_bypassed_is_not_v4() -> None:
    key = address_key("192.0.2.1")
    prefixes = parse("gateway: {bypass: ['::/0']}").gateway.bypass
    assert len(prefixes) == 96
    assert not any(key >> (128 - length) == base >> (128 - length) for base, length in prefixes)


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("lan: eth0", "gateway.lan", "expected a list, found 'eth0'"),
        ("lan: [[eth0]]", "gateway.lan[0]", "expected a text, found a list"),
        ("lan: [ok, 'a b']", "gateway.lan[1]", "not an interface name"),
        ("bypass: [10.0.0.0/40]", "gateway.bypass[0]", "not a CIDR: '10.0.0.0/40'"),
        ("clients: []", "gateway.clients", "expected a mapping, found a list"),
        ("clients: {include: [aa:bb]}", "gateway.clients.include[0]", "nor a MAC: 'aa:bb'"),
        ("clients: {exclude: [x]}", "gateway.clients.exclude[0]", "neither a CIDR, an address"),
        ("local: 7", "gateway.local", "expected true or false"),
        ("on-failure: ope", "gateway.on-failure", "did you mean 'open'?"),
        ("workers: 17", "gateway.workers", "1 to 16 is allowed"),
        ("nice: -21", "gateway.nice", "-20 to 19 is allowed"),
        ("verdict-cache: x", "gateway.verdict-cache", "expected true or false"),
        ("udp-timeout: 0", "gateway.udp-timeout", "1 to 86400 is allowed"),
        ("tcp-idle-timeout: 9", "gateway.tcp-idle-timeout", "10 to 604800 is allowed"),
        ("max-flows: 0", "gateway.max-flows", "1 to 1048576 is allowed"),
    ],
)
def test_refused(text: str, path: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(f"gateway:\n  {text}\n")
    (problem,) = caught.value.problems
    assert (problem.path, problem.line) == (path, 2)
    assert says in problem.message


def test_unknown_keys_warn() -> None:
    found = parse("gateway:\n  worker: 1\n  clients: {includes: []}\n")
    assert found.warnings == (
        "line 3: gateway.clients.includes: unknown key, did you mean 'include'?",
        "line 2: gateway.worker: unknown key, did you mean 'workers'?",
    )
