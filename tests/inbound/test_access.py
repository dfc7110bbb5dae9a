"""Who may come in: lists, passwords, and who is spared them."""

from __future__ import annotations

import pytest

from mihomo_tproxy.config.specs.listener import AccessSpec, ListenerSpec, ListenerType
from mihomo_tproxy.inbound.access import Gate, Users
from mihomo_tproxy.matcher.cidr import parse_cidr


def keys(*cidrs):
    return tuple((each.key, each.length) for text in cidrs for each in parse_cidr(text, bare=True))


def gate(access, **changes):
    return Gate(ListenerSpec("p", "n", ListenerType.MIXED, ("::",), 1, **changes), access)


def test_users():
    users = Users([("a", "b"), ("c", "")])
    assert users.verify(b"a", b"b")
    assert users.verify(b"c", b"")
    assert not users.verify(b"a", b"")
    assert not users.verify(b"a", b"bb")
    assert not users.verify(b"x", b"x")
    assert not users.verify(b"", b"")


def test_names_are_utf8():
    assert Users([("ü", "ß")]).verify("ü".encode(), "ß".encode())


def test_everybody_by_default():
    found = gate(AccessSpec())
    assert found.open
    assert found.admits("192.0.2.1")
    assert found.verifier("192.0.2.1") is None


LISTS = AccessSpec(
    users=(("a", "b"),),
    skip_auth=keys("127.0.0.0/8", "::1"),
    allowed=keys("127.0.0.0/8", "192.168.0.0/16", "fd00::/8", "fe80::/10"),
    disallowed=keys("192.168.0.3"),
)


@pytest.mark.parametrize(
    ("host", "admitted"),
    [
        ("127.0.0.1", True),
        ("192.168.0.2", True),
        ("192.168.0.3", False),
        ("10.0.0.1", False),
        ("fd00::1", True),
        ("fe80::1%eth0", True),
        ("2001:db8::1", False),
    ],
)
def test_lists(host, admitted):
    assert gate(LISTS).admits(host) is admitted


def test_an_empty_list_admits_nobody():
    assert not gate(AccessSpec(allowed=())).admits("127.0.0.1")


def test_lists_do_not_count_where_the_listener_says_so():
    found = gate(LISTS, guarded=False)
    assert found.open
    assert found.admits("10.0.0.1")
    assert found.verifier("127.0.0.1") is not None


def test_some_need_no_password():
    found = gate(LISTS)
    assert found.verifier("127.0.0.9") is None
    assert found.verifier("::1") is None
    assert found.verifier("192.168.0.2")(b"a", b"b")


def test_users_of_its_own():
    found = gate(LISTS, users=(("x", "y"),), guarded=False)
    assert found.verifier("127.0.0.1")(b"x", b"y")
    assert not found.verifier("127.0.0.1")(b"a", b"b")
    assert gate(LISTS, users=(), guarded=False).verifier("127.0.0.1") is None
