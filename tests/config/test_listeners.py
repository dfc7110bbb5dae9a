"""Listeners: mihomo's port keys, `listeners`, `inbound`, and what is refused."""

from __future__ import annotations

import pytest
from support.refusing import complaints

from mihomo_tproxy.config import parse
from mihomo_tproxy.config.listeners import MAX_PORTS
from mihomo_tproxy.config.specs.listener import ListenerSpec, ListenerType

ANY = ("0.0.0.0", "::")
LOOPBACK = ("127.0.0.1", "::1")


def errors(text: str) -> list[str]:
    return [str(problem) for problem in complaints(text)]


def listeners(text: str) -> tuple[ListenerSpec, ...]:
    return parse(text).listeners


def test_port_keys() -> None:
    text = "port: 1\nsocks-port: 2\nmixed-port: 3\nredir-port: 4\ntproxy-port: 5\nallow-lan: true"
    found = listeners(text)
    assert [(each.path, each.name, each.type, each.port) for each in found] == [
        ("port", "DEFAULT-HTTP", "http", 1),
        ("socks-port", "DEFAULT-SOCKS", "socks", 2),
        ("mixed-port", "DEFAULT-MIXED", "mixed", 3),
        ("redir-port", "DEFAULT-REDIR", "redir", 4),
        ("tproxy-port", "DEFAULT-TPROXY", "tproxy", 5),
    ]
    assert all(each.hosts == ANY and each.udp and each.guarded for each in found)
    assert all(each.users is None and not each.proxy for each in found)


def test_a_port_of_zero_is_none() -> None:
    assert listeners("mixed-port: 0\nport:") == ()


def test_without_allow_lan_ports_are_on_loopback_and_lists_do_not_count() -> None:
    (found,) = listeners("mixed-port: 7890\nbind-address: 192.0.2.1")
    assert (found.hosts, found.guarded) == (LOOPBACK, False)


def test_bind_address() -> None:
    (found,) = listeners("mixed-port: 7890\nallow-lan: true\nbind-address: '[2001:db8::1]'")
    assert found.hosts == ("2001:db8::1",)


def test_a_listener_with_everything() -> None:
    (found,) = listeners("""
proxies: [{name: wan2, type: direct}]
listeners:
  - name: guests
    type: socks
    port: 1080
    listen: 192.0.2.1
    udp: false
    users: [{username: a, password: b}, {username: c, password: 5}]
    proxy: wan2
    routing-mark: 7
""")
    assert found == ListenerSpec(
        "listeners[0]",
        "guests",
        ListenerType.SOCKS,
        ("192.0.2.1",),
        1080,
        udp=False,
        users=(("a", "b"), ("c", "5")),
        guarded=False,
        proxy="wan2",
        routing_mark=7,
    )
    assert "'b'" not in repr(found)


@pytest.mark.parametrize("kind", list(ListenerType))
def test_listeners_defaults_are_mihomos(kind: str) -> None:
    (found,) = listeners(f"listeners: [{{name: a, type: {kind}, port: 1}}]")
    assert found.hosts == ("0.0.0.0",)
    assert found.udp == (kind in ("socks", "mixed", "tproxy"))
    assert (found.users, found.guarded, found.proxy) == (None, True, "")


def test_no_users_asks_nobody() -> None:
    (found,) = listeners("listeners: [{name: a, type: http, port: 1, users: []}]")
    assert (found.users, found.guarded) == ((), False)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("1080", [1080]),
        ("'1080'", [1080]),
        ("200,302", [200, 302]),
        ("200/204, 401-403", [200, 204, 401, 402, 403]),
        ("5-5,5", [5]),
    ],
)
def test_ports(text: str, ports: list[int]) -> None:
    found = listeners(f"listeners:\n  - name: a\n    type: http\n    port: {text}")
    assert [each.port for each in found] == ports
    assert {each.name for each in found} == {"a"}


@pytest.mark.parametrize(
    ("listen", "hosts"),
    [("'::'", ANY), ("'*'", ANY), ("0.0.0.0", ("0.0.0.0",)), ("'[::1]'", ("::1",))],
)
def test_listen(listen: str, hosts: tuple[str, ...]) -> None:
    (found,) = listeners(f"listeners: [{{name: a, type: http, port: 1, listen: {listen}}}]")
    assert found.hosts == hosts


@pytest.mark.parametrize(
    ("listen", "hosts"),
    [
        ("0.0.0.0:7890", ("0.0.0.0",)),
        ("127.0.0.1:7890", ("127.0.0.1",)),
        ("'[::1]:7890'", ("::1",)),
        ("'[::]:7890'", ANY),
        ("':7890'", ANY),
        ("'*:7890'", ANY),
    ],
)
def test_inbound(listen: str, hosts: tuple[str, ...]) -> None:
    (found,) = parse(f"inbound:\n  mixed:\n    listen: {listen!s}\n    udp: true").listeners
    assert (found.path, found.name, found.type) == ("inbound.mixed", "mixed", "mixed")
    assert (found.hosts, found.port, found.udp, found.guarded) == (hosts, 7890, True, True)


def test_the_seeds_own_form() -> None:
    config = parse('inbound: {mixed: {listen: "0.0.0.0:7890", udp: true}}')
    assert config.listeners[0].port == 7890
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("listeners: {}", "listeners", "expected a list"),
        ("listeners: [1]", "listeners[0]", "expected a mapping"),
        ("listeners: [{type: http, port: 1}]", "listeners[0]", "'name' is missing"),
        ("listeners: [{name: a, port: 1}]", "listeners[0]", "'type' is missing"),
        ("listeners: [{name: a, type: http}]", "listeners[0]", "'port' is missing"),
        ("listeners: [{name: a, type: htp, port: 1}]", "listeners[0].type", "mean 'http'"),
        ("listeners: [{name: a, type: vmess, port: 1}]", "listeners[0].type", "not supported"),
        ("listeners: [{name: a, type: http, port: 0}]", "listeners[0].port", "not a port"),
        ("listeners: [{name: a, type: http, port: 1-x}]", "listeners[0].port", "'1-x'"),
        ("listeners: [{name: a, type: http, port: 9-1}]", "listeners[0].port", "'9-1'"),
        (
            f"listeners: [{{name: a, type: http, port: 1-{MAX_PORTS + 1}}}]",
            "listeners[0].port",
            f"more than {MAX_PORTS} ports",
        ),
        (
            "listeners: [{name: a, type: http, port: 1, listen: lan}]",
            "listeners[0].listen",
            "expected an address",
        ),
        (
            "listeners: [{name: a, type: http, port: 1, proxy: DIREKT}]",
            "listeners[0].proxy",
            "did you mean 'DIRECT'",
        ),
        (
            "listeners: [{name: a, type: tproxy, port: 1, proxy: DIRECT}]",
            "listeners[0].proxy",
            "not supported for listeners of type tproxy",
        ),
        (
            "listeners: [{name: a, type: http, port: 1, rule: sub}]",
            "listeners[0].rule",
            "rules of a listener's own",
        ),
        (
            "listeners: [{name: a, type: http, port: 1, certificate: x}]",
            "listeners[0].certificate",
            "TLS towards clients",
        ),
        (
            "listeners: [{name: a, type: http, port: 1, users: [{username: 'a:b'}]}]",
            "listeners[0].users[0].username",
            "without ':'",
        ),
        (
            "listeners: [{name: a, type: http, port: 1, users: [x]}]",
            "listeners[0].users[0]",
            "expected a mapping",
        ),
        ("inbound: {mixed: {listen: 0.0.0.0}}", "inbound.mixed.listen", "0.0.0.0:7890"),
        ("inbound: {mixed: {listen: 'x:1'}}", "inbound.mixed.listen", "expected an address"),
        ("inbound: {mixed: 7890}", "inbound.mixed", "expected a mapping"),
        ("port: 65536", "port", "out of range"),
    ],
)
def test_refused(text: str, path: str, says: str) -> None:
    found = errors(text)
    assert any(f"{path}: " in each and says in each for each in found), found


def test_names_are_taken_once() -> None:
    text = "listeners: [{name: a, type: http, port: 1}, {name: a, type: http, port: 2}]"
    assert errors(text) == ["line 1: listeners[1]: the name 'a' is already taken"]


@pytest.mark.parametrize(
    ("text", "path", "other"),
    [
        ("port: 1\nsocks-port: 1", "socks-port", "port"),
        ("port: 1\ninbound: {mixed: {listen: '127.0.0.1:1'}}", "inbound.mixed", "port"),
        ("port: 1\nlisteners: [{name: a, type: http, port: 1}]", "listeners[0]", "port"),
    ],
)
def test_clashes(text: str, path: str, other: str) -> None:
    (found,) = errors(text)
    assert f"{path}: port 1 is taken by {other}" in found


@pytest.mark.parametrize(
    "text",
    [
        "port: 1\ninbound: {mixed: {listen: '192.0.2.1:1'}}",
        "listeners:\n- {name: a, type: http, port: 1}\n"
        "- {name: b, type: http, port: 1, listen: '::1'}",
    ],
)
def test_different_addresses_do_not_clash(text: str) -> None:
    assert len(listeners(text)) == 2


def test_unknown_keys_are_named() -> None:
    found = parse("listeners: [{name: a, type: http, port: 1, prot: 2}]\ninbound: {tun: {}}")
    assert found.warnings == (
        "line 1: listeners[0].prot: unknown key, did you mean 'port'?",
        "line 2: inbound.tun: unknown key",
    )


def test_everything_may_go_to_a_group() -> None:
    group = "proxy-groups: [{name: g, type: select, proxies: [DIRECT]}]"
    (found,) = listeners(f"listeners: [{{name: a, type: socks, port: 1, proxy: g}}]\n{group}")
    assert found.proxy == "g"
