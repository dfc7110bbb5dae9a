"""The classifier and what it remembers: verdicts, clients, sockets, sticky flows, fragments."""

from __future__ import annotations

import socket
from struct import pack
from typing import TYPE_CHECKING

import pytest
from support.packets import (
    ACK,
    CLIENT_MAC,
    FIN,
    ICMP,
    RST,
    SYN,
    TCP,
    UDP,
    frame4,
    frame6,
    tcp,
    udp,
)
from support.sockets import Connection, datagram_socket
from support.steering import GENERATION, LOOPBACK, MASKS, Steering, prefix, steering

from mihomo_tproxy.dataplane import abi
from mihomo_tproxy.dataplane.abi import Route
from mihomo_tproxy.dataplane.verdicts import KernelVerdicts
from mihomo_tproxy.model import fields
from mihomo_tproxy.model.enums import InboundType, Network, Verdict
from mihomo_tproxy.model.metadata import Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

C4, S4 = "10.9.0.2", "203.0.113.5"
C6, S6 = "fd09::2", "2001:db8:5::5"
PAIRS = [(C4, S4), (C6, S6)]
STALE = GENERATION - 1
ROUTES = {
    Verdict.DIRECT: Route.KERNEL,
    Verdict.PROXY: Route.RELAY,
    Verdict.DROP: Route.DROP,
}


@pytest.fixture(scope="module")
def loaded() -> Iterator[Steering]:
    with steering() as programs:
        yield programs


@pytest.fixture
def steer(loaded: Steering) -> Steering:
    loaded.reset()
    return loaded


def segment(
    client: str, server: str, flags: int = SYN, sport: int = 40000, dport: int = 443
) -> bytes:
    build = frame6 if ":" in server else frame4
    return build(client, server, TCP, tcp(sport, dport, flags))


def datagram(client: str, server: str, sport: int = 40000, dport: int = 443) -> bytes:
    build = frame6 if ":" in server else frame4
    return build(client, server, UDP, udp(sport, dport))


# Verdicts


@pytest.mark.parametrize("verdict", ROUTES)
@pytest.mark.parametrize(("server", "within"), [(S4, "203.0.113.0/24"), (S6, "2001:db8:5::/48")])
def test_static_prefix(steer: Steering, server: str, within: str, verdict: Verdict) -> None:
    client = C6 if ":" in server else C4
    steer.decide(within, verdict)
    assert steer.run(segment(client, server)).route is ROUTES[verdict]
    steer.decide(within, verdict, STALE)
    assert steer.run(segment(client, server)).route is Route.RELAY


def test_longest_prefix_wins(steer: Steering) -> None:
    steer.decide("203.0.113.0/24", Verdict.DIRECT)
    steer.decide("203.0.113.5/32", Verdict.DROP)
    assert steer.run(segment(C4, S4)).route is Route.DROP
    assert steer.run(segment(C4, "203.0.113.6")).route is Route.KERNEL
    assert steer.run(segment(C4, "203.0.114.5")).route is Route.RELAY


def test_bypass_prefix_holds_in_every_generation_and_without_cache(steer: Steering) -> None:
    steer.decide("203.0.113.0/24", Verdict.DIRECT, 0)
    assert steer.run(segment(C4, S4)).route is Route.BYPASS
    steer.configure(generation=GENERATION + 1, flags=0)
    assert steer.run(segment(C4, S4)).route is Route.BYPASS
    assert steer.run(segment(C4, "203.0.114.5")).route is Route.RELAY


def learn(steer: Steering, mask: int, verdict: Verdict, generation: int = GENERATION) -> None:
    kernel = KernelVerdicts(steer.maps["verdicts"])
    kernel.configure(generation, MASKS)
    flow = Metadata(Network.TCP, InboundType.TPROXY, C4, 40000, S4, 443)
    assert kernel.learn(flow, mask, verdict)


FIELDS = {
    fields.SRC_ADDR: segment("10.9.0.3", S4),
    fields.DST_ADDR: segment(C4, "203.0.113.6"),
    fields.SRC_PORT: segment(C4, S4, sport=40001),
    fields.DST_PORT: segment(C4, S4, dport=444),
    fields.NETWORK: datagram(C4, S4),
}


@pytest.mark.parametrize("verdict", ROUTES)
@pytest.mark.parametrize("mask", MASKS)
def test_learnt_verdict_holds_for_exactly_its_fields(
    steer: Steering, mask: int, verdict: Verdict
) -> None:
    learn(steer, mask, verdict)
    assert steer.run(segment(C4, S4)).route is ROUTES[verdict]
    for field, other in FIELDS.items():
        expected = Route.RELAY if mask & field else ROUTES[verdict]
        assert steer.run(other).route is expected


@pytest.mark.parametrize("mask", MASKS)
def test_learnt_verdict_of_another_generation_counts_for_nothing(
    steer: Steering, mask: int
) -> None:
    learn(steer, mask, Verdict.DROP, STALE)
    assert steer.run(segment(C4, S4)).route is Route.RELAY


def test_cache_off_asks_the_relay(steer: Steering) -> None:
    learn(steer, fields.DST_ADDR, Verdict.DIRECT)
    steer.decide("203.0.113.0/24", Verdict.DIRECT)
    assert steer.run(segment(C4, S4)).route is Route.KERNEL
    steer.flags(remove=abi.FLAG_CACHE)
    assert steer.run(segment(C4, S4)).route is Route.RELAY


def test_direct_needs_no_listener(steer: Steering) -> None:
    steer.silence()
    steer.flags(add=abi.FLAG_CLOSED)
    steer.decide("203.0.113.0/24", Verdict.DIRECT)
    assert steer.run(segment(C4, S4)).route is Route.KERNEL
    assert steer.run(segment(C4, "203.0.114.5")).route is Route.CLOSED


# Clients


def list_client(steer: Steering, text: str, kind: int) -> None:
    steer.maps["clients"].update(prefix(text), bytes([kind]))


def test_excluded_clients_pass(steer: Steering) -> None:
    steer.flags(add=abi.FLAG_CLIENTS)
    list_client(steer, "10.9.0.0/24", abi.CLIENT_EXCLUDE)
    list_client(steer, "10.9.0.2/32", abi.CLIENT_INCLUDE)
    list_client(steer, "fd09::/64", abi.CLIENT_EXCLUDE)
    assert steer.run(segment("10.9.0.3", S4)).route is Route.BYPASS
    assert steer.run(segment(C4, S4)).route is Route.RELAY
    assert steer.run(segment("10.9.1.3", S4)).route is Route.RELAY
    assert steer.run(segment(C6, S6)).route is Route.BYPASS


def test_only_included_clients_are_steered(steer: Steering) -> None:
    steer.flags(add=abi.FLAG_CLIENTS | abi.FLAG_CLIENTS_ONLY)
    list_client(steer, "10.9.0.0/24", abi.CLIENT_INCLUDE)
    assert steer.run(segment(C4, S4)).route is Route.RELAY
    assert steer.run(segment("10.9.1.2", S4)).route is Route.BYPASS
    assert steer.run(segment(C6, S6)).route is Route.BYPASS


@pytest.mark.parametrize(
    ("kind", "only", "route"),
    [
        (abi.CLIENT_EXCLUDE, 0, Route.BYPASS),
        (abi.CLIENT_INCLUDE, abi.FLAG_CLIENTS_ONLY, Route.RELAY),
        (None, abi.FLAG_CLIENTS_ONLY, Route.BYPASS),
        (None, 0, Route.RELAY),
    ],
)
def test_clients_by_mac(steer: Steering, kind: int | None, only: int, route: Route) -> None:
    steer.flags(add=abi.FLAG_MACS | only)
    steer.maps["macs"].update(abi.MAC.pack(b"\2\0\0\0\0\x77"), bytes([abi.CLIENT_EXCLUDE]))
    if kind is not None:
        steer.maps["macs"].update(abi.MAC.pack(CLIENT_MAC), bytes([kind]))
    assert steer.run(segment(C4, S4)).route is route
    assert steer.run(datagram(C6, S6)).route is route


# Sockets: a flow never changes sides


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_segments_follow_a_live_socket_whatever_the_rules_say_now(
    steer: Steering, client: str, server: str
) -> None:
    steer.decide(f"{server}/{128 if ':' in server else 32}", Verdict.DROP)
    with Connection(client, server) as flow:
        for flags in (ACK, FIN | ACK, RST, SYN):
            frame = segment(client, server, flags, *flow.ports)
            assert steer.run(frame).route is Route.RELAY
        steer.silence()
        assert steer.run(segment(client, server, ACK, *flow.ports)).route is Route.RELAY
        other = segment(client, server, ACK, flow.ports[0] ^ 1, flow.ports[1])
        assert steer.run(other).route is Route.KERNEL


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_time_wait_keeps_its_segments_and_lets_a_new_flow_choose_the_relay(
    steer: Steering, client: str, server: str
) -> None:
    with Connection(client, server) as flow:
        flow.leave_time_wait()
        syn, ack = (segment(client, server, flags, *flow.ports) for flags in (SYN, ACK))
        assert steer.run(ack).route is Route.RELAY
        steer.decide("0.0.0.0/0", Verdict.DIRECT)
        steer.decide("2000::/3", Verdict.DIRECT)
        assert steer.run(syn).route is Route.RELAY
        assert steer.run(ack).route is Route.RELAY
        steer.decide("0.0.0.0/0", Verdict.DROP)
        steer.decide("2000::/3", Verdict.DROP)
        assert steer.run(syn).route is Route.DROP


@pytest.mark.parametrize("bypassed", [False, True])
@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_time_wait_does_not_catch_a_flow_that_passed_while_nobody_listened(
    steer: Steering, client: str, server: str, bypassed: bool
) -> None:
    with Connection(client, server) as flow:
        flow.leave_time_wait()
        syn, ack = (segment(client, server, flags, *flow.ports) for flags in (SYN, ACK))
        if bypassed:
            steer.decide("0.0.0.0/0", Verdict.DIRECT, 0)
            steer.decide("2000::/3", Verdict.DIRECT, 0)
        listening = dict(steer.listeners)
        steer.silence()
        assert steer.run(syn).route is (Route.BYPASS if bypassed else Route.OPEN)
        assert steer.run(ack).route is Route.KERNEL
        for slot, sock in listening.items():
            steer.maps["listeners"].update_socket(slot, sock.fileno())
        assert steer.run(ack).route is Route.KERNEL
        assert steer.run(syn).route is Route.RELAY
        assert steer.run(ack).route is Route.RELAY


def test_a_listener_of_somebody_else_holds_no_flow(steer: Steering) -> None:
    with socket.create_server(("", 443)):
        assert steer.run(segment(C4, S4, ACK)).route is Route.KERNEL
        assert steer.run(segment(C4, S4, SYN)).route is Route.RELAY


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_segments_of_a_claimed_flow_are_the_relays_without_a_socket(
    steer: Steering, client: str, server: str
) -> None:
    """A handshake by SYN cookie has none yet, a flow that was reset has none any more."""
    ack = segment(client, server, ACK)
    assert steer.run(ack).route is Route.KERNEL
    assert steer.run(segment(client, server)).route is Route.RELAY
    for flags in (ACK, FIN | ACK, RST):
        assert steer.run(segment(client, server, flags)).route is Route.RELAY
    assert steer.run(segment(client, server, ACK, 40001)).route is Route.KERNEL
    steer.silence()
    assert steer.run(ack).route is Route.KERNEL
    steer.flags(add=abi.FLAG_CLOSED)
    assert steer.run(ack).route is Route.CLOSED


def test_while_the_relay_has_no_flows_no_socket_is_looked_for(steer: Steering) -> None:
    steer.relayed(seconds_ago=181)
    with Connection(C4, S4) as flow:
        ack = segment(C4, S4, ACK, *flow.ports)
        assert steer.run(ack).route is Route.KERNEL
        assert steer.run(segment(C4, S4, sport=40009)).route is Route.RELAY
        assert steer.run(ack).route is Route.RELAY


def test_a_claim_ends_with_time_and_with_the_next_flow_of_the_ports(steer: Steering) -> None:
    assert steer.run(segment(C4, S4)).route is Route.RELAY
    (flow,) = steer.maps["claimed"].keys()
    steer.maps["claimed"].update(flow, pack("=Q", steer.monotonic_ns() - 181 * 10**9))
    assert steer.run(segment(C4, S4, ACK)).route is Route.KERNEL
    assert steer.run(segment(C4, S4)).route is Route.RELAY
    steer.decide("203.0.113.0/24", Verdict.DIRECT)
    assert steer.run(segment(C4, S4, ACK)).route is Route.RELAY
    assert steer.run(segment(C4, S4)).route is Route.KERNEL
    assert steer.run(segment(C4, S4, ACK)).route is Route.KERNEL


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_datagrams_follow_a_connected_socket_only(
    steer: Steering, client: str, server: str
) -> None:
    width = 128 if ":" in server else 32
    steer.decide(f"{server}/{width}", Verdict.DROP)
    with datagram_socket((server, 443), (client, 40000)):
        assert steer.run(datagram(client, server)).route is Route.RELAY
        assert steer.run(datagram(client, server, sport=40001)).route is Route.DROP
    assert steer.run(datagram(client, server)).route is Route.DROP
    with datagram_socket((server, 443), None):
        assert steer.run(datagram(client, server)).route is Route.DROP


# Sticky flows


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_a_udp_flow_of_the_kernel_stays_there(steer: Steering, client: str, server: str) -> None:
    steer.decide("0.0.0.0/0", Verdict.DIRECT)
    steer.decide("2000::/3", Verdict.DIRECT)
    assert steer.run(datagram(client, server)).route is Route.KERNEL
    steer.configure(generation=GENERATION + 1)
    assert steer.run(datagram(client, server)).route is Route.KERNEL
    assert steer.run(datagram(client, server, sport=40001)).route is Route.RELAY
    assert steer.totals()[Route.KERNEL].flows > 0


def test_a_udp_flow_that_passed_while_nobody_listened_stays(steer: Steering) -> None:
    steer.silence()
    assert steer.run(datagram(C4, S4)).route is Route.OPEN
    steer.maps["listeners"].update_socket(1, steer.listeners[1].fileno())
    assert steer.run(datagram(C4, S4)).route is Route.KERNEL


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_a_udp_flow_given_to_the_relay_is_not_taken_back_before_it_has_a_socket(
    steer: Steering, client: str, server: str
) -> None:
    assert steer.run(datagram(client, server)).route is Route.RELAY
    steer.decide(f"{server}/{128 if ':' in server else 32}", Verdict.DIRECT)
    assert steer.run(datagram(client, server)).route is Route.RELAY
    assert steer.run(datagram(client, server, sport=40001)).route is Route.KERNEL
    (claim,) = steer.maps["claimed"].keys()
    steer.maps["claimed"].update(claim, pack("=Q", steer.monotonic_ns() - 3 * 10**9))
    assert steer.run(datagram(client, server)).route is Route.KERNEL


@pytest.mark.parametrize("verdict", [Verdict.PROXY, Verdict.DROP])
def test_other_udp_flows_are_not_remembered(steer: Steering, verdict: Verdict) -> None:
    steer.decide("203.0.113.0/24", verdict)
    assert steer.run(datagram(C4, S4)).route is ROUTES[verdict]
    assert list(steer.maps["flows"].keys()) == []


def test_a_udp_flow_unseen_for_long_is_a_new_one(steer: Steering) -> None:
    steer.decide("203.0.113.0/24", Verdict.DIRECT)
    assert steer.run(datagram(C4, S4)).route is Route.KERNEL
    (flow,) = steer.maps["flows"].keys()
    steer.decide("203.0.113.0/24", Verdict.DROP)
    steer.age(flow, seconds=181)
    assert steer.run(datagram(C4, S4)).route is Route.DROP


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_answers_to_a_peer_that_spoke_first_are_the_kernels(
    steer: Steering, client: str, server: str
) -> None:
    towards_client = datagram(server, client, sport=443, dport=40000)
    assert steer.run_down(towards_client, came_from=LOOPBACK).route is Route.DOWN_KERNEL
    assert steer.run(datagram(client, server)).route is Route.KERNEL
    assert steer.client(client, Route.DOWN_KERNEL).packets == 1


@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_what_leaves_from_here_is_ours_or_the_relays(
    steer: Steering, client: str, server: str
) -> None:
    frame = segment(server, client, ACK)
    assert steer.run_down(frame).route is Route.DOWN_RELAY
    assert steer.client(client, Route.DOWN_RELAY).bytes == len(frame)
    steer.own(server)
    assert steer.run_down(frame).route is Route.DOWN_OWN
    assert list(steer.maps["flows"].keys()) == []


def test_what_leaves_but_is_no_flow_is_counted_as_other(steer: Steering) -> None:
    for frame in (frame4(S4, C4, ICMP, bytes(8)), datagram(S4, "224.0.0.251"), bytes(15)):
        assert steer.run_down(frame).route is Route.OTHER
