"""Streams and associations through a SOCKS5 server, played by the test on loopback."""

from __future__ import annotations

import socket

import pytest
from support.loopback import RelayRig
from support.proxies import Sink, accept, built, datagrams, receive, receive_datagram, use

from mihomo_tproxy.codec.socks5 import encode_reply, encode_request, encode_udp
from mihomo_tproxy.config.specs.base import ProxySpec
from mihomo_tproxy.config.specs.socks5 import Socks5Spec
from mihomo_tproxy.outbound.packets import QUEUE_DATAGRAMS, RETRY_S
from mihomo_tproxy.outbound.socks5 import NAME_LIMIT

ASSOCIATE = encode_request(3, "0.0.0.0", 0)
TO = ("192.0.2.1", 53)


def spec(rig: RelayRig, **options) -> Socks5Spec:
    host, port = rig.destination
    return Socks5Spec("s", "socks5", server=options.pop("server", host), port=port, **options)


def socks5(rig: RelayRig, **options):
    outbound = built(rig, spec(rig, **options)).get("s")
    assert outbound is not None
    return outbound


def associated(rig: RelayRig, bound: tuple[str, int], **options):
    """A link whose first datagram `x` is under way, its sink, and the server's control stream."""
    sink = Sink()
    link = socks5(rig, **options).open_udp(sink)
    assert link is not None
    link.send(memoryview(b"x"), TO)
    control = accept(rig)
    assert receive(rig, control, 3) == b"\x05\x01\x00"
    control.sendall(b"\x05\x00")
    assert receive(rig, control, len(ASSOCIATE)) == ASSOCIATE
    control.sendall(encode_reply(0, *bound))
    return link, sink, control


def test_a_flow_both_ways_to_its_ends():
    with RelayRig() as rig:
        use(rig, socks5(rig, username="user", password="pass"))  # noqa: S106
        client = rig.connect()
        client.sendall(b"early")
        proxy = accept(rig)
        assert receive(rig, proxy, 3) == b"\x05\x01\x02"
        proxy.sendall(b"\x05\x02")
        assert receive(rig, proxy, 11) == b"\x01\x04user\x04pass"
        proxy.sendall(b"\x01\x00")
        asked = encode_request(1, *rig.destination)
        assert receive(rig, proxy, len(asked)) == asked
        proxy.sendall(encode_reply(0) + b"first")
        assert receive(rig, client, 5) == b"first"
        assert receive(rig, proxy, 5) == b"early"
        data = bytes(range(256)) * 2048
        rig.in_thread(lambda: proxy.sendall(data))
        assert receive(rig, client, len(data)) == data
        client.close()
        rig.in_thread(lambda: proxy.recv(1))
        proxy.close()
        rig.turn_until(lambda: not rig.tracker.tcp_live)
        assert rig.tracker.errors == {}


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"\x05\xff", "socks5-no-method"),
        (b"\x05\x00\x05\x05", "socks5-refused"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "socks5-bad-version"),
        (b"", "handshake-closed"),
    ],
)
def test_a_server_that_does_not_let_us_through(said: bytes, cause: str):
    with RelayRig() as rig:
        use(rig, socks5(rig))
        client = rig.connect()
        proxy = accept(rig)
        receive(rig, proxy, 3)
        if said:
            proxy.sendall(said)
        else:
            proxy.close()
        rig.turn_until(lambda: not rig.tracker.tcp_live)
        assert rig.tracker.errors == {cause: 1}
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_datagrams_of_many_remotes_through_one_association():
    with RelayRig() as rig:
        relay = datagrams(rig)
        link, sink, _ = associated(rig, relay.getsockname())
        link.send(memoryview(b"y"), ("2001:db8::1", 54, 0, 0))
        first, ours = receive_datagram(rig, relay)
        assert first == encode_udp(b"x", *TO)
        assert receive_datagram(rig, relay) == (encode_udp(b"y", "2001:db8::1", 54), ours)
        link.send(memoryview(b"z"), ("name.test", 55))
        assert receive_datagram(rig, relay) == (encode_udp(b"z", "name.test", 55), ours)
        answers = [
            (b"1", ("192.0.2.1", 53)),
            (b"", ("198.51.100.9", 1)),
            (b"3" * 8000, ("2001:db8::9", 2, 0, 0)),
            (b"4", ("name.test", 55)),
        ]
        for data, remote in answers:
            relay.sendto(encode_udp(data, remote[0], remote[1]), ours)
        rig.turn_until(lambda: len(sink.got) == len(answers))
        assert sink.got == answers
        assert rig.tracker.errors == {}
        link.close()


def test_a_relay_at_the_server_itself():
    with RelayRig() as rig:
        relay = datagrams(rig)
        port = relay.getsockname()[1]
        link, _, _ = associated(rig, ("0.0.0.0", port), server="localhost", ip_version="ipv4")
        assert receive_datagram(rig, relay)[0] == encode_udp(b"x", *TO)
        link.close()


def test_a_relay_at_a_server_behind_another_outbound():
    with RelayRig() as rig:
        relay = datagrams(rig)
        port = relay.getsockname()[1]
        options = {"dialer_proxy": "DIRECT", "server": "localhost", "ip_version": "ipv4"}
        link, sink, _ = associated(rig, ("::", port), **options)
        wire, ours = receive_datagram(rig, relay)
        assert wire == encode_udp(b"x", *TO)
        relay.sendto(encode_udp(b"back", *TO), ours)
        rig.turn_until(lambda: sink.got == [(b"back", TO)])
        link.close()


def test_what_is_not_the_relays_is_dropped_and_counted():
    with RelayRig() as rig:
        relay, stranger = datagrams(rig), datagrams(rig)
        link, sink, _ = associated(rig, relay.getsockname())
        _, ours = receive_datagram(rig, relay)
        good = encode_udp(b"good", *TO)
        stranger.sendto(good, ours)
        for wire in (
            good[:2] + b"\x01" + good[3:],
            good[:9],
            b"",
            encode_udp(b"x", "other.test", 1),
        ):
            relay.sendto(wire, ours)
        relay.sendto(good, ours)
        rig.turn_until(lambda: sink.got != [] and len(rig.tracker.errors) == 4)
        assert sink.got == [(b"good", TO)]
        assert rig.tracker.errors == {
            "socks5-udp-stranger": 1,
            "socks5-fragment": 1,
            "socks5-short": 2,
            "socks5-udp-name": 1,
        }
        link.close()


def test_names_that_are_wanted_are_capped():
    with RelayRig() as rig:
        relay = datagrams(rig)
        link, _, _ = associated(rig, relay.getsockname())
        receive_datagram(rig, relay)
        for number in range(NAME_LIMIT + 1):
            link.send(memoryview(b""), (f"name-{number}.test", 1))
        assert link._names == {f"name-{NAME_LIMIT}.test"}
        link.close()


def test_what_waits_is_capped_and_what_cannot_be_said_is_counted():
    with RelayRig() as rig:
        relay = datagrams(rig)
        link = socks5(rig).open_udp(Sink())
        link.send(memoryview(b"x"), ("a b", 1))
        for _ in range(QUEUE_DATAGRAMS + 2):
            link.send(memoryview(b"x"), TO)
        assert rig.tracker.errors == {"udp-queue-full": 3}
        control = accept(rig)
        control.sendall(b"\x05\x00" + encode_reply(0, *relay.getsockname()))
        for _ in range(QUEUE_DATAGRAMS - 1):
            assert receive_datagram(rig, relay)[0] == encode_udp(b"x", *TO)
        assert rig.tracker.errors == {"udp-queue-full": 3, "bad-name": 1}
        link.close()


def test_the_association_ends_with_its_control_stream_and_comes_back():
    with RelayRig() as rig:
        relay = datagrams(rig)
        link, _, control = associated(rig, relay.getsockname())
        receive_datagram(rig, relay)
        control.close()
        rig.turn_until(lambda: rig.tracker.errors == {"socks5-udp-ended": 1})
        link.send(memoryview(b"lost"), TO)
        assert rig.tracker.errors["udp-stream-down"] == 1
        rig.later(2 * RETRY_S)
        link.send(memoryview(b"again"), TO)
        control = accept(rig)
        control.sendall(b"\x05\x00" + encode_reply(0, *relay.getsockname()))
        assert receive_datagram(rig, relay)[0] == encode_udp(b"again", *TO)
        link.close()
        rig.turn_until(lambda: control.recv(64) == b"")


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        (b"\x05\xff", "socks5-no-method"),
        (b"\x05\x00\x05\x07", "socks5-unsupported"),
        (b"\x05\x00" + encode_reply(0), "socks5-no-relay"),
    ],
)
def test_an_association_that_fails(said: bytes, cause: str):
    with RelayRig() as rig:
        link = socks5(rig).open_udp(Sink())
        link.send(memoryview(b"x"), TO)
        accept(rig).sendall(said)
        rig.turn_until(lambda: rig.tracker.errors == {cause: 1})
        link.close()


def test_a_server_that_stalls_or_refuses():
    with RelayRig() as rig:
        link = socks5(rig).open_udp(Sink())
        link.send(memoryview(b"x"), TO)
        receive(rig, accept(rig), 3)
        rig.later(10.0)
        assert rig.tracker.errors == {"handshake-timeout": 1}
        closed = socket.create_server(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        closed.close()
        gone = built(rig, Socks5Spec("g", "socks5", server="127.0.0.1", port=port)).get("g")
        assert gone is not None
        link = gone.open_udp(Sink())
        assert link is not None
        link.send(memoryview(b"x"), TO)
        rig.turn_until(lambda: rig.tracker.errors == {"handshake-timeout": 1, "dial-refused": 1})


def test_the_way_out_may_carry_no_datagrams():
    with RelayRig() as rig:
        chained = built(
            rig, spec(rig, dialer_proxy="narrow"), ProxySpec("narrow", "direct", udp=False)
        ).get("s")
        assert chained is not None
        link = chained.open_udp(Sink())
        assert link is not None
        link.send(memoryview(b"x"), TO)
        accept(rig).sendall(b"\x05\x00" + encode_reply(0, "127.0.0.1", 9))
        rig.turn_until(lambda: rig.tracker.errors == {"socks5-no-relay": 1})


def test_udp_false_gives_no_link():
    with RelayRig() as rig:
        assert socks5(rig, udp=False).open_udp(Sink()) is None
