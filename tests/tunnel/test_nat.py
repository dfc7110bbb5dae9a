"""UDP associations: full cone, rules per destination, limits, timeouts, nothing left behind.

Clients are bound to 127.0.0.x, remotes too, so that no privilege is needed: the transparent socket
of a flow is replaced by one that shares the remote's address on loopback.
"""

from __future__ import annotations

import gc
import socket
import weakref

import pytest
from support.loopback import GIVE_UP_S, RelayRig, both_loops, readable

from mihomo_tproxy.net import sockopt
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.outbound.reject import RejectDrop
from mihomo_tproxy.tunnel.nat import NatTable


class UdpRig(RelayRig):
    """A relay rig with a nat table of its own limits, a client and remotes that can be spoofed."""

    def __init__(self, loop_factory=None, **limits):
        super().__init__(*([loop_factory] if loop_factory else []))
        self.nat = NatTable(
            self.reactor, self.tracker, self.tunnel._decide_udp, open_reply=self.reply, **limits
        )
        self.tunnel.nat = self.nat
        self.client = self.socket("127.0.0.1")
        self.refuse_replies = False

    def reply(self, local, peer):
        if self.refuse_replies:
            raise OSError(24, "Too many open files")
        return sockopt.open_reply(local, peer)

    def socket(self, host):
        sock = self.keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, 0))
        sock.settimeout(GIVE_UP_S)
        return sock

    def first(self, data, remote, client=None):
        """A datagram as the listener hands it over."""
        client = (client or self.client).getsockname()
        self.nat.handle(memoryview(data), client, remote.getsockname())

    def receive(self, sock):
        self.turn_until(lambda: readable(sock))
        return sock.recvfrom(65536)


@pytest.fixture(autouse=True)
def unprivileged(monkeypatch):
    monkeypatch.setattr(sockopt, "set_transparent", lambda sock, family: None)


@both_loops
def test_there_and_back(loop_factory):
    with UdpRig(loop_factory) as rig:
        remote = rig.socket("127.0.0.2")
        rig.first(b"question", remote)
        data, sender = rig.receive(remote)
        assert data == b"question"
        remote.sendto(b"answer", sender)
        assert rig.receive(rig.client) == (b"answer", remote.getsockname())
        assert (rig.tracker.datagrams_up, rig.tracker.datagrams_down) == (1, 1)
        assert rig.tracker.udp_live == 1


@both_loops
def test_later_datagrams_of_the_client_reach_the_flows_socket(loop_factory):
    with UdpRig(loop_factory) as rig:
        remote = rig.socket("127.0.0.2")
        rig.first(b"one", remote)
        assert rig.receive(remote)[0] == b"one"
        (flow,) = rig.nat.associations[rig.client.getsockname()].flows.values()
        # The remote itself shares the address here; the connected socket is the better match.
        for number in range(100):
            rig.client.sendto(b"%d" % number, flow.sock.getsockname())
        got = [rig.receive(remote)[0] for _ in range(100)]
        assert got == [b"%d" % number for number in range(100)]


def test_largest_datagram():
    with UdpRig() as rig:
        remote = rig.socket("127.0.0.2")
        rig.first(bytes(65507), remote)
        data, sender = rig.receive(remote)
        assert len(data) == 65507
        remote.sendto(data, sender)
        assert len(rig.receive(rig.client)[0]) == 65507


def test_one_source_port_towards_every_remote_and_replies_from_anyone():
    """Full cone: a third address that the client never wrote to reaches it, as itself."""
    with UdpRig() as rig:
        first, second, third = (rig.socket(f"127.0.0.{n}") for n in (2, 3, 4))
        rig.first(b"a", first)
        rig.first(b"b", second)
        seen = [rig.receive(first)[1], rig.receive(second)[1]]
        assert seen[0] == seen[1]
        third.sendto(b"unsolicited", ("127.0.0.1", seen[0][1]))
        assert rig.receive(rig.client) == (b"unsolicited", third.getsockname())
        assert len(rig.nat.associations) == 1


def test_rules_are_asked_per_destination():
    with UdpRig() as rig:
        allowed, dropped = rig.socket("127.0.0.2"), rig.socket("127.0.0.3")
        rig.outbounds.add(RejectDrop(rig.reactor, rig.tracker))
        rig.engine.by_port[dropped.getsockname()[1]] = "REJECT-DROP"
        rig.first(b"a", allowed)
        rig.first(b"b", dropped)
        assert rig.receive(allowed)[0] == b"a"
        assert len(rig.nat.associations[rig.client.getsockname()].flows) == 1
        assert not readable(dropped)


def test_refused_client_has_no_association():
    with UdpRig() as rig:
        dropped = rig.socket("127.0.0.3")
        rig.outbounds.add(RejectDrop(rig.reactor, rig.tracker))
        rig.engine.by_port[dropped.getsockname()[1]] = "REJECT-DROP"
        rig.first(b"b", dropped)
        assert rig.nat.associations == {}


def test_answering_an_unsolicited_remote_asks_the_rules_first():
    with UdpRig() as rig:
        known, friend, foe = (rig.socket(f"127.0.0.{n}") for n in (2, 3, 4))
        rig.outbounds.add(RejectDrop(rig.reactor, rig.tracker))
        rig.engine.by_port[foe.getsockname()[1]] = "REJECT-DROP"
        rig.first(b"a", known)
        ours = ("127.0.0.1", rig.receive(known)[1][1])
        for stranger in (friend, foe):
            stranger.sendto(b"hello", ours)
            rig.receive(rig.client)
        asked = len(rig.engine.asked)
        rig.first(b"to friend", friend)
        rig.first(b"to foe", foe)
        assert len(rig.engine.asked) == asked + 2
        assert rig.receive(friend)[0] == b"to friend"
        assert not readable(foe)
        udp = {t["target"]: t for t in rig.tracker.snapshot()["targets"] if t["network"] == "udp"}
        assert udp["DIRECT"]["opened"] == 2


def test_clients_share_a_destination_without_meeting():
    with UdpRig() as rig:
        remote, other = rig.socket("127.0.0.2"), rig.socket("127.0.0.9")
        rig.first(b"one", remote)
        rig.first(b"two", remote, other)
        senders = dict(rig.receive(remote) for _ in range(2))
        remote.sendto(b"for one", senders[b"one"])
        remote.sendto(b"for two", senders[b"two"])
        assert rig.receive(rig.client)[0] == b"for one"
        assert rig.receive(other)[0] == b"for two"


def test_datagram_that_slipped_in_between_bind_and_connect_is_not_lost():
    with UdpRig() as rig:
        remote, stranger = rig.socket("127.0.0.2"), rig.socket("127.0.0.9")
        remote_address = remote.getsockname()
        slipped = []

        def slow_reply(local, peer):
            sock = socket.SocketType(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(local)
            if not slipped:
                slipped.append(1)
                remote.close()
                stranger.sendto(b"slipped in", local)
            sock.connect(peer)
            return sock

        rig.nat._open_reply = slow_reply
        rig.first(b"first", remote)
        rig.turn_until(lambda: len(rig.nat.associations) == 2)
        assert set(rig.nat.associations) == {rig.client.getsockname(), stranger.getsockname()}
        flows = rig.nat.associations[stranger.getsockname()].flows
        assert list(flows) == [remote_address]
        assert rig.tracker.datagrams_up == 2


@pytest.mark.parametrize("known", [False, True], ids=["new", "known"])
def test_another_clients_datagram_that_came_after_connect_stays_its_own(known):
    """The kernel may look a datagram up before the connect and queue it only after it."""
    with UdpRig() as rig:
        remote, stranger = rig.socket("127.0.0.2"), rig.socket("127.0.0.9")
        rig.first(b"one", remote)
        ours = rig.receive(remote)[1]
        (flow,) = rig.nat.associations[rig.client.getsockname()].flows.values()
        flow.sock.connect(stranger.getsockname())
        stranger.sendto(b"strayed", flow.remote)
        assert readable(flow.sock)
        flow.sock.connect(rig.client.getsockname())
        rig.client.sendto(b"two", flow.remote)
        if known:
            rig.first(b"hello", remote, stranger)
        senders = dict(rig.receive(remote) for _ in range(2 + known))
        assert senders[b"two"] == ours
        theirs = senders[b"strayed"]
        assert theirs != ours
        assert senders.get(b"hello", theirs) == theirs
        remote.sendto(b"answer", theirs)
        assert rig.receive(stranger) == (b"answer", remote.getsockname())
        assert not readable(rig.client)


def test_flow_of_some_age_receives_without_asking_for_the_sender():
    with UdpRig() as rig:
        remote = rig.socket("127.0.0.2")
        rig.first(b"one", remote)
        assert rig.receive(remote)[0] == b"one"
        (flow,) = rig.nat.associations[rig.client.getsockname()].flows.values()
        assert flow._mixed_until
        rig.later(2)
        for _ in range(2):
            for number in range(100):
                rig.client.sendto(b"%d" % number, flow.remote)
            got = [rig.receive(remote)[0] for _ in range(100)]
            assert got == [b"%d" % number for number in range(100)]
            assert not flow._mixed_until


def test_idle_flow_ends_and_takes_the_association_with_it():
    with UdpRig() as rig:
        rig.first(b"a", rig.socket("127.0.0.2"))
        rig.later(59)
        assert rig.tracker.udp_live == 1
        rig.later(2)
        assert rig.tracker.udp_live == 0
        assert rig.nat.associations == {}


def test_traffic_in_either_direction_keeps_a_flow():
    with UdpRig() as rig:
        remote = rig.socket("127.0.0.2")
        rig.first(b"a", remote)
        sender = rig.receive(remote)[1]
        for _ in range(3):
            rig.later(50)
            remote.sendto(b"x", sender)
            rig.receive(rig.client)
        assert rig.tracker.udp_live == 1


def test_name_servers_flows_end_early():
    with UdpRig() as rig:
        assert rig.nat.timeout_of(("192.0.2.1", 53)) == 10
        assert rig.nat.timeout_of(("192.0.2.1", 443)) == 60


def test_flow_limit_evicts_the_quiet_one():
    with UdpRig(flow_limit=2) as rig:
        remotes = [rig.socket(f"127.0.0.{n}") for n in (2, 3, 4)]
        rig.first(b"a", remotes[0])
        rig.first(b"a", remotes[1])
        rig.later(5)
        rig.first(b"again", remotes[0])
        rig.first(b"a", remotes[2])
        flows = rig.nat.associations[rig.client.getsockname()].flows
        assert set(flows) == {remotes[0].getsockname(), remotes[2].getsockname()}
        assert rig.tracker.errors == {"udp-flow-evicted": 1}
        assert rig.tracker.udp_live == 2


def test_association_limit_evicts_the_quiet_one():
    with UdpRig(association_limit=2) as rig:
        remote = rig.socket("127.0.0.2")
        clients = [rig.socket(f"127.0.0.{n}") for n in (11, 12, 13)]
        rig.first(b"a", remote, clients[0])
        rig.first(b"a", remote, clients[1])
        rig.later(5)
        rig.first(b"again", remote, clients[0])
        rig.first(b"a", remote, clients[2])
        assert set(rig.nat.associations) == {c.getsockname() for c in (clients[0], clients[2])}
        assert rig.tracker.errors == {"udp-association-evicted": 1}


def test_refused_reply_socket_leaves_nothing():
    with UdpRig() as rig:
        rig.refuse_replies = True
        remote = rig.socket("127.0.0.2")
        rig.first(b"a", remote)
        assert rig.receive(remote)[0] == b"a"
        assert rig.tracker.errors == {"udp-reply-no-descriptor": 1}
        assert rig.nat.associations == {}
        assert rig.tracker.udp_live == 0


def test_client_that_closed_its_port_ends_nothing():
    with UdpRig() as rig:
        remote = rig.socket("127.0.0.2")
        rig.first(b"a", remote)
        sender = rig.receive(remote)[1]
        rig.client.close()
        remote.sendto(b"x", sender)
        rig.turn_until(lambda: "udp-client-refused" in rig.tracker.errors)
        assert rig.tracker.udp_live == 1
        assert rig.reactor.crashes == 0


def test_handler_that_raises_closes_its_flow_only(monkeypatch):
    with UdpRig() as rig:
        remote, other = rig.socket("127.0.0.2"), rig.socket("127.0.0.3")
        rig.first(b"a", remote)
        rig.first(b"b", other)
        association = rig.nat.associations[rig.client.getsockname()]
        association.flows[remote.getsockname()].abort("internal-error")
        assert list(association.flows) == [other.getsockname()]
        assert rig.tracker.errors == {"internal-error": 1}


def test_associations_leave_no_garbage():
    with UdpRig() as rig:
        remote = rig.socket("127.0.0.2")
        gc.collect()
        gc.disable()
        try:
            refs = []
            for _ in range(200):
                client = rig.socket("127.0.0.1")
                rig.first(b"a", remote, client)
                refs.append(weakref.ref(rig.nat.associations[client.getsockname()]))
                client.close()
            rig.later(61)
            assert [ref for ref in refs if ref() is not None] == []
        finally:
            gc.enable()


def test_refused_watch_leaves_nothing(monkeypatch):
    with UdpRig() as rig:
        remote = rig.socket("127.0.0.2")
        real = Reactor.watch
        calls = []

        def refuse_second(reactor, fd, handler, events):
            calls.append(fd)
            if len(calls) == 2:
                raise OSError(12, "Cannot allocate memory")
            real(reactor, fd, handler, events)

        monkeypatch.setattr(Reactor, "watch", refuse_second)
        rig.first(b"a", remote)
        assert rig.tracker.errors == {"udp-reply-no-memory": 1}
        assert rig.nat.associations == {}
