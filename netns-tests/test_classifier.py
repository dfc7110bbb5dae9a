"""The classifier, packet by packet (BPF_PROG_TEST_RUN): what each frame is taken for.

Where nothing else is said: rules of generation 7, verdict cache on, a relay listening for both
protocols and families, nothing decided yet. So an ordinary new flow goes to the relay.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from support.packets import (
    ACK,
    AH,
    CWR,
    DSTOPTS,
    ECE,
    ESP,
    ETH_ARP,
    ETH_IP,
    ETH_IPV6,
    ETH_QINQ,
    FIN,
    FRAGMENT,
    HOPOPTS,
    ICMP,
    ICMPV6,
    MORE,
    NO_NEXT,
    ROUTING,
    RST,
    SCTP,
    SYN,
    TCP,
    UDP,
    authentication,
    ether,
    extension,
    fragment6,
    frame4,
    frame6,
    ipv4,
    ipv6,
    tag,
    tcp,
    udp,
)
from support.steering import DROPPED, MARK, PASS, SHOT, Steering, steering

from mihomo_tproxy.dataplane import abi
from mihomo_tproxy.dataplane.abi import Route

if TYPE_CHECKING:
    from collections.abc import Iterator

C4, S4 = "10.9.0.2", "203.0.113.5"
C6, S6 = "fd09::2", "2001:db8:5::5"
OTHERS_MARK = 0x10001
BROADCAST_MAC, MULTICAST_MAC = b"\xff" * 6, bytes.fromhex("01005e000001")


@pytest.fixture(scope="module")
def loaded() -> Iterator[Steering]:
    with steering() as programs:
        yield programs


@pytest.fixture
def steer(loaded: Steering) -> Steering:
    loaded.reset()
    return loaded


def expect(steer: Steering, frame: bytes, route: Route) -> None:
    """The frame takes this route, and its mark and action are that route's.

    A bit of ours that arrives set means nothing; the bits of others survive.
    """
    for mark in (0, MARK, OTHERS_MARK, OTHERS_MARK | MARK):
        steer.maps["flows"].replace({})
        outcome = steer.run(frame, mark=mark)
        assert outcome.route is route
        assert outcome.action == (SHOT if route in DROPPED else PASS)
        if route not in DROPPED:
            assert outcome.mark == mark & ~MARK | (MARK if route is Route.RELAY else 0)


def tagged(tags: bytes, v6: bool = False) -> bytes:
    if v6:
        return ether(ETH_IPV6, ipv6(C6, S6, TCP, tcp()), tags=tags)
    return ether(ETH_IP, ipv4(C4, S4, TCP, tcp()), tags=tags)


def chain(*kinds: int, last: int = TCP, payload: bytes = tcp()) -> bytes:
    """An IPv6 packet with these extension headers of 8, 16, 24 ... bytes before the transport."""
    following, body = last, payload
    for units, kind in reversed(list(enumerate(kinds))):
        body = extension(following, units % 3) + body
        following = kind
    return frame6(C6, S6, following, body)


V4_TCP = frame4(C4, S4, TCP, tcp())
V6_TCP = frame6(C6, S6, TCP, tcp())
ETHERNET = {
    "v4-tcp": (V4_TCP, Route.RELAY),
    "v4-udp": (frame4(C4, S4, UDP, udp()), Route.RELAY),
    "v6-tcp": (V6_TCP, Route.RELAY),
    "v6-udp": (frame6(C6, S6, UDP, udp()), Route.RELAY),
    "padded": (V4_TCP + bytes(6), Route.RELAY),
    "arp": (ether(ETH_ARP, bytes(28)), Route.OTHER),
    "unknown-ethertype": (ether(0x88B5, ipv4(C4, S4, TCP, tcp())), Route.OTHER),
    "802.3-length": (ether(46, bytes(46)), Route.OTHER),
    "for-another-host": (ether(ETH_IP, V4_TCP[14:], dst=b"\2" * 6), Route.OTHER),
    "link-broadcast": (ether(ETH_IP, V4_TCP[14:], dst=BROADCAST_MAC), Route.OTHER),
    "link-multicast": (ether(ETH_IP, V4_TCP[14:], dst=MULTICAST_MAC), Route.OTHER),
    "vlan-0": (tagged(tag(0)), Route.RELAY),
    "vlan-0-v6": (tagged(tag(0), v6=True), Route.RELAY),
    "vlan-0-twice": (tagged(tag(0, ETH_QINQ) + tag(0)), Route.RELAY),
    "vlan-0-three-times": (tagged(tag(0) * 3), Route.OTHER),
    "vlan-20": (tagged(tag(20)), Route.OTHER),
    "vlan-4095": (tagged(tag(4095)), Route.OTHER),
    "vlan-20-in-vlan-0": (tagged(tag(0) + tag(20)), Route.OTHER),
    "vlan-20-in-vlan-30": (tagged(tag(30, ETH_QINQ) + tag(20)), Route.OTHER),
    "vlan-tag-cut": (ether(0x8100, b"\0\0"), Route.MALFORMED),
    "vlan-0-then-nothing": (tagged(tag(0))[:18], Route.MALFORMED),
}

OPTIONS = b"\x83\x07\x04\x0a\x00\x00\x01\x00"
IPV4 = {
    "options": (frame4(C4, S4, TCP, tcp(), options=OPTIONS), Route.RELAY),
    "options-40-bytes": (frame4(C4, S4, UDP, udp(), options=b"\1" * 40), Route.RELAY),
    "dont-fragment": (frame4(C4, S4, TCP, tcp(), fragment=0x4000), Route.RELAY),
    "icmp": (frame4(C4, S4, ICMP, b"\x08\0" + bytes(6)), Route.OTHER),
    "esp": (frame4(C4, S4, ESP, bytes(24)), Route.OTHER),
    "sctp": (frame4(C4, S4, SCTP, bytes(24)), Route.OTHER),
    "ihl-4": (frame4(C4, S4, TCP, tcp(), ihl=4), Route.MALFORMED),
    "ihl-0": (frame4(C4, S4, TCP, tcp(), ihl=0), Route.MALFORMED),
    "ihl-beyond-end": (frame4(C4, S4, UDP, udp(data=b""), ihl=15), Route.MALFORMED),
    "version-6": (frame4(C4, S4, TCP, tcp(), version=6), Route.MALFORMED),
    "total-below-header": (frame4(C4, S4, TCP, tcp(), total=19), Route.MALFORMED),
    "total-0": (frame4(C4, S4, TCP, tcp(), total=0), Route.MALFORMED),
    "tcp-header-in-the-padding": (frame4(C4, S4, TCP, tcp(), total=20), Route.MALFORMED),
    "udp-header-in-the-padding": (frame4(C4, S4, UDP, udp(), total=27), Route.MALFORMED),
    "tcp-offset-4": (frame4(C4, S4, TCP, tcp(offset=4)), Route.MALFORMED),
    "tcp-offset-0": (frame4(C4, S4, TCP, tcp(offset=0)), Route.MALFORMED),
    "udp-length-7": (frame4(C4, S4, UDP, udp(length=7)), Route.MALFORMED),
    "udp-length-0": (frame4(C4, S4, UDP, udp(length=0)), Route.MALFORMED),
    "udp-empty": (frame4(C4, S4, UDP, udp(data=b"")), Route.RELAY),
    "port-0": (frame4(C4, S4, UDP, udp(0, 0)), Route.RELAY),
    "land": (frame4(S4, S4, TCP, tcp(443, 443)), Route.RELAY),
    "first-fragment-without-transport-header": (
        frame4(C4, S4, TCP, tcp()[:8], fragment=MORE),
        Route.MALFORMED,
    ),
}

IPV6 = {
    "hop-by-hop": (chain(HOPOPTS), Route.RELAY),
    "three-extensions": (chain(HOPOPTS, DSTOPTS, ROUTING), Route.RELAY),
    "six-extensions": (chain(HOPOPTS, *[DSTOPTS] * 5), Route.RELAY),
    "seven-extensions": (chain(HOPOPTS, *[DSTOPTS] * 6), Route.OTHER),
    "udp-behind-extensions": (chain(HOPOPTS, DSTOPTS, last=UDP, payload=udp()), Route.RELAY),
    "authenticated": (frame6(C6, S6, AH, authentication(TCP) + tcp()), Route.OTHER),
    "esp": (frame6(C6, S6, ESP, bytes(24)), Route.OTHER),
    "esp-behind-extension": (chain(DSTOPTS, last=ESP, payload=bytes(24)), Route.OTHER),
    "icmpv6": (frame6(C6, S6, ICMPV6, b"\x80\0" + bytes(6)), Route.OTHER),
    "icmpv6-behind-hop-by-hop": (chain(HOPOPTS, last=ICMPV6, payload=bytes(8)), Route.OTHER),
    "sctp": (frame6(C6, S6, SCTP, bytes(24)), Route.OTHER),
    "no-next-header": (frame6(C6, S6, NO_NEXT, b""), Route.OTHER),
    "extension-beyond-end": (frame6(C6, S6, DSTOPTS, b"\x06\xff" + bytes(6)), Route.MALFORMED),
    "version-4": (frame6(C6, S6, TCP, tcp(), version=4), Route.MALFORMED),
    "tcp-offset-4": (frame6(C6, S6, TCP, tcp(offset=4)), Route.MALFORMED),
    "udp-length-7": (frame6(C6, S6, UDP, udp(length=7)), Route.MALFORMED),
    "udp-jumbogram": (frame6(C6, S6, UDP, udp(length=0)), Route.RELAY),
    "atomic-fragment": (frame6(C6, S6, FRAGMENT, fragment6(TCP, 9) + tcp()), Route.RELAY),
    "v4-mapped-destination": (frame6(C6, "::ffff:203.0.113.5", TCP, tcp()), Route.MALFORMED),
    "v4-mapped-source": (frame6("::ffff:10.9.0.2", S6, TCP, tcp()), Route.MALFORMED),
}

SEGMENTS = {
    "syn": (SYN, Route.RELAY),
    "syn-ecn": (SYN | ECE | CWR, Route.RELAY),
    "syn-ack": (SYN | ACK, Route.KERNEL),
    "ack": (ACK, Route.KERNEL),
    "fin-ack": (FIN | ACK, Route.KERNEL),
    "rst": (RST, Route.KERNEL),
    "syn-fin": (SYN | FIN, Route.KERNEL),
    "syn-rst": (SYN | RST, Route.KERNEL),
    "none": (0, Route.KERNEL),
    "all": (0xFF, Route.KERNEL),
}


@pytest.mark.parametrize(("frame", "route"), ETHERNET.values(), ids=ETHERNET)
def test_link_layer(steer: Steering, frame: bytes, route: Route) -> None:
    expect(steer, frame, route)


@pytest.mark.parametrize(("frame", "route"), IPV4.values(), ids=IPV4)
def test_ipv4(steer: Steering, frame: bytes, route: Route) -> None:
    expect(steer, frame, route)


@pytest.mark.parametrize(("frame", "route"), IPV6.values(), ids=IPV6)
def test_ipv6(steer: Steering, frame: bytes, route: Route) -> None:
    expect(steer, frame, route)


@pytest.mark.parametrize(("flags", "route"), SEGMENTS.values(), ids=SEGMENTS)
def test_segment_without_socket(steer: Steering, flags: int, route: Route) -> None:
    expect(steer, frame4(C4, S4, TCP, tcp(flags=flags)), route)
    expect(steer, frame6(C6, S6, TCP, tcp(flags=flags)), route)


BIG_SEGMENT = tcp(flags=SYN, data=bytes(1400))


@pytest.mark.parametrize(
    ("total", "gso_size", "route"),
    [(0, 1400, Route.RELAY), (0, 0, Route.MALFORMED), (19, 1400, Route.MALFORMED)],
)
def test_ipv4_length_of_an_aggregate_beyond_64_kib(
    steer: Steering, total: int, gso_size: int, route: Route
) -> None:
    frame = frame4(C4, S4, TCP, BIG_SEGMENT, total=total)
    assert steer.run(frame, gso_size=gso_size).route is route


NEVER = [
    "224.0.0.0", "224.0.0.251", "239.255.255.255", "240.0.0.1", "255.255.255.255", "0.0.0.0",
    "0.255.255.255", "127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254",
    "169.254.255.255", "ff02::1", "ff0e::1", "fe80::1", "febf::1", "::1", "::", "::192.0.2.1",
]  # fmt: skip
PRIVATE = [
    "10.0.0.0", "10.255.255.255", "172.16.0.0", "172.31.255.255", "192.168.0.0",
    "192.168.255.255", "100.64.0.0", "100.127.255.255", "192.0.0.0", "192.0.0.255",
    "fc00::", "fdff:ffff::1",
]  # fmt: skip
STEERED = [
    "1.0.0.0", "9.255.255.255", "11.0.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255",
    "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
    "100.63.255.255", "100.128.0.0", "191.255.255.255", "192.0.1.0", "223.255.255.255",
    "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255",
    "2001:db8::1", "2606:4700::1111", "fbff::1", "fe00::1", "fe7f::1", "fec0::1",
    "::1:0:0:1", "0:0:0:1::", "64:ff9b::1",
]  # fmt: skip


def towards(destination: str, source: str = "") -> bytes:
    if ":" in destination:
        return frame6(source or C6, destination, UDP, udp())
    return frame4(source or C4, destination, UDP, udp())


@pytest.mark.parametrize("destination", NEVER)
def test_unroutable_destinations_pass_whatever_the_flags(steer: Steering, destination: str) -> None:
    expect(steer, towards(destination), Route.BYPASS)
    steer.flags(add=abi.FLAG_PRIVATE)
    expect(steer, towards(destination), Route.BYPASS)


@pytest.mark.parametrize("destination", PRIVATE)
def test_private_destinations_pass_unless_asked_for(steer: Steering, destination: str) -> None:
    expect(steer, towards(destination), Route.BYPASS)
    steer.flags(add=abi.FLAG_PRIVATE)
    expect(steer, towards(destination), Route.RELAY)


@pytest.mark.parametrize("destination", STEERED)
def test_public_destinations_are_steered(steer: Steering, destination: str) -> None:
    expect(steer, towards(destination), Route.RELAY)


@pytest.mark.parametrize("source", ["0.0.0.0", "127.0.0.1", "169.254.3.4", "fe80::9", "::"])
def test_clients_without_a_routable_address_pass(steer: Steering, source: str) -> None:
    expect(steer, towards(S6 if ":" in source else S4, source), Route.BYPASS)


@pytest.mark.parametrize("destination", [S4, S6, "10.9.0.1", "fd09::1"])
def test_own_addresses_pass(steer: Steering, destination: str) -> None:
    steer.own(destination)
    expect(steer, towards(destination), Route.OWN)


def test_ipv6_passes_when_it_is_not_steered(steer: Steering) -> None:
    steer.flags(remove=abi.FLAG_IPV6)
    expect(steer, V6_TCP, Route.BYPASS)
    expect(steer, V4_TCP, Route.RELAY)


@pytest.mark.parametrize("flags", [ACK, FIN | ACK])
def test_later_segments_pass_when_nobody_listens(steer: Steering, flags: int) -> None:
    steer.silence()
    expect(steer, frame4(C4, S4, TCP, tcp(flags=flags)), Route.KERNEL)


@pytest.mark.parametrize("frame", [V4_TCP, V6_TCP, towards(S4), towards(S6)])
def test_new_flows_without_a_listener(steer: Steering, frame: bytes) -> None:
    steer.silence()
    expect(steer, frame, Route.OPEN)
    steer.flags(add=abi.FLAG_CLOSED)
    expect(steer, frame, Route.CLOSED)


def test_a_worker_that_is_down_is_stood_in_for(steer: Steering) -> None:
    steer.configure(workers=4)
    for port in range(40000, 40016):
        assert steer.run(frame4(C4, S4, TCP, tcp(sport=port))).route is Route.RELAY


@pytest.mark.parametrize("action", [PASS, SHOT])
def test_counters_hold_bytes_and_flows_per_client(steer: Steering, action: int) -> None:
    if action == SHOT:
        steer.silence()
        steer.flags(add=abi.FLAG_CLOSED)
    route = Route.CLOSED if action == SHOT else Route.RELAY
    before = steer.totals()[route]
    expect(steer, V4_TCP, route)
    after = steer.totals()[route]
    assert [now - then for now, then in zip(after, before, strict=True)] == [4, 4 * 54, 4]
    assert steer.client(C4, route) == abi.Count(4, 4 * 54, 4)


def test_what_is_not_a_flow_names_no_client(steer: Steering) -> None:
    expect(steer, frame4(C4, S4, ICMP, bytes(8)), Route.OTHER)
    expect(steer, frame4(C4, S4, TCP, tcp(offset=4)), Route.MALFORMED)
    assert list(steer.maps["client_stats"].keys()) == []


def test_the_loader_leaves_nothing_pinned() -> None:
    with ExitStack() as stack:
        programs = stack.enter_context(steering(suffix="-twice"))
        assert (programs.pins / "settings").exists()
    assert not programs.pins.exists()


LAYOUTS = {
    "settings": (4, abi.SETTINGS.size),
    "own": (16, 1),
    "prefixes": (abi.PREFIX.size, abi.PREFIX_VERDICT.size),
    "clients": (abi.PREFIX.size, 1),
    "macs": (abi.MAC.size, 1),
    "verdicts": (abi.VERDICT_KEY.size, abi.VERDICT_VALUE.size),
    "totals": (4, abi.COUNT.size),
    "client_stats": (16, abi.CLIENT_ROUTES * abi.COUNT.size + 8),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_maps_have_the_layout_user_space_believes_in(loaded: Steering, name: str) -> None:
    table = loaded.maps[name]
    assert (table.key_size, table.value_size) == LAYOUTS[name]
