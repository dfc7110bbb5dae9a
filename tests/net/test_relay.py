"""The TCP relay on loopback sockets: order, ends, resets, back-pressure, timeouts, no garbage."""

from __future__ import annotations

import gc
import hashlib
import socket
import struct
import weakref

import pytest
from support.loopback import GIVE_UP_S, RelayRig, both_loops, readable, receive_all

import mihomo_tproxy.outbound.direct as direct
from mihomo_tproxy.net.relay import Flow

RESET = struct.pack("ii", 1, 0)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    sock.close()


@both_loops
def test_request_and_answer(loop_factory):
    with RelayRig(loop_factory) as rig:
        client, server = rig.pair()
        client.sendall(b"question")
        rig.turn_until(lambda: readable(server))
        assert server.recv(64) == b"question"
        server.sendall(b"answer")
        rig.turn_until(lambda: readable(client))
        assert client.recv(64) == b"answer"
        client.close()
        server.close()
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        traffic = rig.tracker.snapshot()["targets"][0]
        assert (traffic["up_bytes"], traffic["down_bytes"]) == (8, 6)
        assert (traffic["opened"], traffic["closed"]) == (1, 1)
        assert rig.tracker.errors == {}


@both_loops
def test_server_speaks_first(loop_factory):
    with RelayRig(loop_factory) as rig:
        client, server = rig.pair()
        server.sendall(b"220 ready")
        rig.turn_until(lambda: readable(client))
        assert client.recv(64) == b"220 ready"


@both_loops
@pytest.mark.parametrize("first", ["client", "server"])
def test_half_close(loop_factory, first):
    """One side says it is done; the other may go on, and then the flow ends without a reset."""
    with RelayRig(loop_factory) as rig:
        client, server = rig.pair()
        early, late = (client, server) if first == "client" else (server, client)
        early.sendall(b"last words")
        early.shutdown(socket.SHUT_WR)
        rig.turn_until(lambda: readable(late))
        rig.in_thread(lambda: None)
        got = []
        rig.in_thread(lambda: got.append(receive_all(late)))
        assert got == [b"last words"]
        assert rig.tracker.tcp_live == 1
        late.sendall(b"still here")
        late.shutdown(socket.SHUT_WR)
        rig.in_thread(lambda: got.append(receive_all(early)))
        assert got[1] == b"still here"
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


@both_loops
@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_passes_on_as_reset(loop_factory, who):
    with RelayRig(loop_factory) as rig:
        client, server = rig.pair()
        near, far = (client, server) if who == "client" else (server, client)
        reset(near)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        with pytest.raises(ConnectionResetError):
            far.recv(1)
        assert rig.tracker.errors == {"relay-reset": 1}


@pytest.mark.parametrize("who", ["client", "server"])
def test_bytes_before_a_reset_arrive(who):
    with RelayRig() as rig:
        client, server = rig.pair()
        near, far = (client, server) if who == "client" else (server, client)
        near.sendall(b"before")
        reset(near)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert far.recv(64) == b"before"
        with pytest.raises(ConnectionResetError):
            far.recv(1)


@pytest.mark.parametrize("who", ["client", "server"])
def test_reset_after_half_close(who):
    with RelayRig() as rig:
        client, server = rig.pair()
        near, far = (client, server) if who == "client" else (server, client)
        near.shutdown(socket.SHUT_WR)
        rig.turn_until(lambda: readable(far))
        assert far.recv(1) == b""
        reset(near)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            far.send(b"x")
        assert list(rig.tracker.errors) == ["relay-reset"]


def blast(sender: socket.socket, receiver: socket.socket, size: int) -> tuple[str, str]:
    """Send and receive `size` bytes in two threads; the checksums of both sides."""
    import threading

    chunk = bytes(range(256)) * 4096
    sums = [hashlib.blake2b(), hashlib.blake2b()]

    def send() -> None:
        left = size
        while left:
            piece = chunk[: min(left, len(chunk) - left % 7)]
            sender.sendall(piece)
            sums[0].update(piece)
            left -= len(piece)
        sender.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    while data := receiver.recv(1 << 18):
        sums[1].update(data)
    thread.join()
    return sums[0].hexdigest(), sums[1].hexdigest()


@both_loops
@pytest.mark.parametrize("pipe_limit", [64, 0], ids=["splice", "no pipes"])
def test_hundred_megabytes_down(loop_factory, pipe_limit):
    with RelayRig(loop_factory, pipe_limit=pipe_limit) as rig:
        client, server = rig.pair()
        sums = []
        rig.in_thread(lambda: sums.append(blast(server, client, 100_000_000)))
        assert sums[0][0] == sums[0][1]
        assert (rig.tracker.spliced > 50_000_000) == (pipe_limit > 0)
        client.close()
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.snapshot()["targets"][0]["down_bytes"] == 100_000_000
        assert rig.tracker.errors == {}


@both_loops
def test_hundred_megabytes_both_ways_at_once(loop_factory):
    with RelayRig(loop_factory) as rig:
        client, server = rig.pair()
        sums = []

        def work() -> None:
            import threading

            other = threading.Thread(target=lambda: sums.append(blast(server, client, 100_000_000)))
            other.start()
            sums.append(blast(client, server, 100_000_000))
            other.join()

        rig.in_thread(work)
        assert all(sent == received for sent, received in sums)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


@both_loops
@pytest.mark.parametrize("who", ["client", "server"])
def test_reader_that_never_reads(loop_factory, who):
    """The relay stops reading: what it holds is bounded, and arrives once the reader reads."""
    with RelayRig(loop_factory) as rig:
        client, server = rig.pair()
        reader, writer = (client, server) if who == "client" else (server, client)
        writer.setblocking(False)
        piece = bytes(1 << 16)
        sent = stalls = 0
        while stalls < 20:
            try:
                sent += writer.send(piece)
                stalls = 0
            except BlockingIOError:
                stalls += 1
                rig.turn(0.005)
        assert sent < 64 << 20
        assert rig.pipes.alive <= 1
        writer.setblocking(True)
        writer.shutdown(socket.SHUT_WR)
        got = []
        rig.in_thread(lambda: got.append(len(receive_all(reader))))
        assert got == [sent]


def test_reset_while_the_other_side_does_not_read():
    with RelayRig() as rig:
        client, server = rig.pair()
        server.setblocking(False)
        stalls = 0
        while stalls < 20:
            try:
                server.send(bytes(1 << 16))
                stalls = 0
            except BlockingIOError:
                stalls += 1
                rig.turn(0.005)
        reset(server)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        with pytest.raises(ConnectionResetError):
            receive_all(client)
        rig.pipes.close()
        assert rig.pipes.alive == 0


@both_loops
def test_refused_dial_resets_the_client(loop_factory):
    with RelayRig(loop_factory) as rig:
        rig.server.close()
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.errors == {"dial-refused": 1}
        assert rig.tracker.tcp_live == 0


def full_server(rig: RelayRig) -> None:
    """Point the rig at a server whose queue is full: it answers no SYN."""
    deaf = rig.keep(socket.socket())
    deaf.bind(("127.0.0.1", 0))
    deaf.listen(0)
    rig.destination = deaf.getsockname()
    for _ in range(4):
        filler = rig.keep(socket.socket())
        filler.setblocking(False)
        filler.connect_ex(rig.destination)


def test_dial_timeout():
    with RelayRig() as rig:
        full_server(rig)
        client = rig.connect()
        rig.turn_until(lambda: rig.tracker.tcp_live == 1)
        rig.later(4.0)
        assert rig.tracker.tcp_live == 1
        rig.later(1.5)
        assert rig.tracker.errors == {"dial-timeout": 1}
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_idle_timeout_counts_from_the_last_byte():
    with RelayRig() as rig:
        client, server = rig.pair()
        rig.later(7000)
        client.sendall(b"x")
        rig.turn_until(lambda: readable(server))
        rig.later(7000)
        assert rig.tracker.tcp_live == 1
        rig.later(500)
        assert rig.tracker.errors == {"idle-timeout": 1}
        assert rig.tracker.tcp_live == 0


def test_half_closed_timeout():
    with RelayRig() as rig:
        client, server = rig.pair()
        client.shutdown(socket.SHUT_WR)
        rig.turn_until(lambda: readable(server))
        rig.later(239)
        assert rig.tracker.tcp_live == 1
        rig.later(2)
        assert rig.tracker.errors == {"half-closed-timeout": 1}


def test_keepalive_reaches_flows_that_live_long(monkeypatch):
    probed = []
    monkeypatch.setattr("mihomo_tproxy.net.relay.set_keepalive", probed.append)
    with RelayRig() as rig:
        rig.pair()
        rig.later(1)
        assert probed == []
        rig.later(5)
        rig.later(7000)
        assert len(probed) == 1


def test_flow_limit_resets():
    with RelayRig(flow_limit=1) as rig:
        rig.pair()
        second = rig.connect()
        rig.turn_until(lambda: rig.tracker.errors != {})
        assert rig.tracker.errors == {"flow-limit": 1}
        with pytest.raises(ConnectionResetError):
            second.recv(1)


def test_thousand_flows_leave_no_garbage(monkeypatch):
    """Reference counts alone free every flow: nothing waits for the collector."""
    flows: list[weakref.ref[Flow]] = []

    def recorded(*args):
        flow = Flow(*args)
        flows.append(weakref.ref(flow))
        return flow

    monkeypatch.setattr(direct, "Flow", recorded)
    with RelayRig() as rig:
        rig.server.setblocking(False)
        gc.collect()
        gc.disable()
        try:
            for number in range(1000):
                client, server = rig.pair()
                client.sendall(b"x")
                rig.turn()
                if number % 4 == 0:
                    reset(client)
                client.close()
                server.close()
                rig._open.clear()
                rig._open.append(rig.server)
            rig.turn_until(lambda: rig.tracker.tcp_live == 0)
            assert len(flows) == 1000
            assert [ref for ref in flows if ref() is not None] == []
        finally:
            gc.enable()


def test_shutdown_of_the_reactor_resets_flows():
    with RelayRig() as rig:
        client, _server = rig.pair()
        rig.reactor.close()
        client.settimeout(GIVE_UP_S)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert rig.tracker.errors == {"shutdown": 1}
        rig.reactor.close()
