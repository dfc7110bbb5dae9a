"""The classifier and fragments: each follows the first of its datagram."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import pack

import pytest
from support.packets import (
    DSTOPTS,
    FRAGMENT,
    ICMP,
    MORE,
    TCP,
    UDP,
    extension,
    fragment6,
    frame4,
    frame6,
    udp,
)
from support.steering import GENERATION, MARK, Steering, steering

from mihomo_tproxy.dataplane.abi import Route
from mihomo_tproxy.dataplane.verdicts import KernelVerdicts
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import InboundType, Network, Verdict
from mihomo_tproxy.model.metadata import Metadata

C4, S4 = "10.9.0.2", "203.0.113.5"
C6, S6 = "fd09::2", "2001:db8:5::5"
Build = Callable[..., bytes]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Steering]:
    with steering() as programs:
        yield programs


@pytest.fixture
def steer(loaded: Steering) -> Steering:
    loaded.reset()
    return loaded


def first4(ident: int, dport: int = 443) -> bytes:
    return frame4(C4, S4, UDP, udp(dport=dport, length=3008), ident=ident, fragment=MORE)


def later4(ident: int, last: bool = True, server: str = S4) -> bytes:
    return frame4(C4, server, UDP, bytes(64), ident=ident, fragment=2 | (0 if last else MORE))


def first6(ident: int, dport: int = 443) -> bytes:
    return frame6(C6, S6, FRAGMENT, fragment6(UDP, ident, more=True) + udp(dport=dport))


def later6(ident: int, last: bool = True, server: str = S6) -> bytes:
    return frame6(C6, server, FRAGMENT, fragment6(UDP, ident, 2, not last) + bytes(64))


FAMILIES = pytest.mark.parametrize(("first", "later"), [(first4, later4), (first6, later6)])


def drop_port(steer: Steering, port: int) -> None:
    """Every flow to this port, of either protocol, is dropped."""
    kernel = KernelVerdicts(steer.maps["verdicts"])
    kernel.configure(GENERATION, (fields.DST_PORT,))
    steer.configure(masks=(fields.DST_PORT,))
    flow = Metadata(Network.UDP, InboundType.TPROXY, C4, 1, S4, port)
    assert kernel.learn(flow, fields.DST_PORT, Verdict.DROP)


@FAMILIES
def test_later_fragments_follow_the_first(steer: Steering, first: Build, later: Build) -> None:
    drop_port(steer, 9)
    assert steer.run(first(7, 9)).route is Route.DROP
    assert steer.run(later(7, last=False)).route is Route.DROP
    assert steer.run(first(8)).route is Route.RELAY
    assert steer.run(later(8)).mark == MARK
    assert steer.run(later(7)).route is Route.DROP


@FAMILIES
def test_a_reused_identification_follows_the_newest_first(
    steer: Steering, first: Build, later: Build
) -> None:
    drop_port(steer, 9)
    for dport, route in ((9, Route.DROP), (443, Route.RELAY), (9, Route.DROP)):
        assert steer.run(first(7, dport)).route is route
        assert steer.run(later(7)).route is route


@FAMILIES
def test_a_later_fragment_that_comes_first_is_judged_without_ports(
    steer: Steering, first: Build, later: Build
) -> None:
    drop_port(steer, 0)
    assert steer.run(later(7)).route is Route.RELAY
    steer.decide("0.0.0.0/0", Verdict.DIRECT)
    steer.decide("2000::/3", Verdict.DIRECT)
    assert steer.run(later(7)).route is Route.KERNEL
    assert list(steer.maps["fragments"].keys()) == []
    assert list(steer.maps["flows"].keys()) == []


def test_a_fragment_of_long_ago_is_another_datagrams(steer: Steering) -> None:
    drop_port(steer, 9)
    assert steer.run(first4(7, 9)).route is Route.DROP
    (key,) = steer.maps["fragments"].keys()
    steer.maps["fragments"].update(key, pack("=QQ", steer.monotonic_ns() - 31 * 10**9, Route.DROP))
    assert steer.run(later4(7)).route is Route.RELAY


def test_identifications_are_per_protocol_and_address(steer: Steering) -> None:
    drop_port(steer, 9)
    assert steer.run(first4(7, 9)).route is Route.DROP
    assert steer.run(frame4(C4, S4, TCP, bytes(64), ident=7, fragment=2)).route is Route.RELAY
    assert steer.run(later4(7, server="203.0.113.6")).route is Route.RELAY


def test_fragments_of_other_protocols_are_other(steer: Steering) -> None:
    assert steer.run(frame4(C4, S4, ICMP, bytes(64), ident=7, fragment=2)).route is Route.OTHER
    inner = fragment6(DSTOPTS, 7, 2) + extension(UDP)
    assert steer.run(frame6(C6, S6, FRAGMENT, inner)).route is Route.OTHER
