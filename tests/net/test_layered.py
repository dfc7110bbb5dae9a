"""Flows through layers: handshake, both directions, ends, failures, and words for the client."""

from __future__ import annotations

import gc
import socket
import time
import weakref

import pytest
from support.layers import Greeting, Lines, Windowed, Xor
from support.loopback import RelayRig, both_loops, readable, receive_all

from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.errors import LocalProtocolError
from mihomo_tproxy.net.layered import LayeredFlow
from mihomo_tproxy.net.relay import Timeouts
from mihomo_tproxy.transport.stack import Stack


class Words:
    """What a client of the tests is told."""

    def __init__(self, early: bytes = b"") -> None:
        self.early = early

    def accepted(self) -> bytes:
        return b"OK\n"

    def refused(self, cause: str) -> bytes:
        return f"NO {cause}\n".encode()


class Layered(RelayRig):
    """A rig whose flows go through layers: `client` is the user's end, `server` the proxy's."""

    def open(self, layers, answer=None, address=None):
        ours, self.client = socket.socketpair()
        self.keep(self.client).settimeout(20)
        server = socket.socket()
        server.setblocking(False)
        server.connect_ex(address or self.destination)
        self.traffic = self.tracker.traffic("p", "tcp")
        self.tracker.flow_opened(self.traffic)
        flow = LayeredFlow(self.context, ours, server, self.traffic, Stack(layers), answer)
        if address is None:
            self.turn_until(lambda: readable(self.server))
            self.proxy, _ = self.server.accept()
            self.keep(self.proxy).settimeout(20)
        return flow

    def received(self, sock, size):
        got = b""
        while len(got) < size:
            self.turn_until(lambda: readable(sock))
            data = sock.recv(size - len(got))
            if not data:
                break
            got += data
        return got


def xored(data: bytes) -> bytes:
    return bytes(byte ^ 0x55 for byte in data)


def test_header_and_first_payload_leave_in_one_piece():
    with Layered() as rig:
        ours, client = socket.socketpair()
        rig.keep(client).sendall(b"first")
        server = socket.socket()
        server.setblocking(False)
        server.connect_ex(rig.destination)
        traffic = rig.tracker.traffic("p", "tcp")
        rig.tracker.flow_opened(traffic)
        LayeredFlow(rig.context, ours, server, traffic, Stack([Xor(header=b"H")]))
        rig.turn_until(lambda: readable(rig.server))
        proxy, _ = rig.server.accept()
        rig.keep(proxy)
        rig.turn_until(lambda: readable(proxy))
        assert proxy.recv(64) == b"H" + xored(b"first")
        assert traffic.up == 5


def test_a_header_does_not_wait_for_a_client_that_says_nothing():
    with Layered() as rig:
        rig.open([Xor(header=b"H")])
        assert rig.received(rig.proxy, 1) == b"H"
        rig.proxy.sendall(xored(b"banner"))
        assert rig.received(rig.client, 6) == b"banner"


def test_after_its_handshake_a_transparent_stack_splices():
    with Layered() as rig:
        rig.open([Greeting()])
        assert rig.received(rig.proxy, 6) == b"hello\n"
        rig.proxy.sendall(b"welcome\nearly")
        assert rig.received(rig.client, 5) == b"early"
        rig.client.sendall(b"up")
        assert rig.received(rig.proxy, 2) == b"up"
        big = bytes(range(256)) * 16384
        results = []
        rig.in_thread(lambda: results.append(transfer(rig.proxy, rig.client, big)))
        assert results == [big]
        assert rig.tracker.spliced > 0


def transfer(sender, receiver, data: bytes) -> bytes:
    import threading

    def send() -> None:
        sender.sendall(data)
        sender.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    got = receive_all(receiver)
    thread.join()
    return got


@both_loops
@pytest.mark.parametrize("up", [True, False])
def test_bulk_through_layers_and_half_close(loop_factory, up):
    with Layered(loop_factory) as rig:
        rig.open([Xor(1), Xor(2)])
        data = bytes(range(251)) * 40000
        sealed = bytes(byte ^ 3 for byte in data)
        sender, receiver = (rig.client, rig.proxy) if up else (rig.proxy, rig.client)
        results = []
        rig.in_thread(lambda: results.append(transfer(sender, receiver, data if up else sealed)))
        assert results == [sealed if up else data]
        receiver.sendall(b"answer")
        assert rig.received(sender, 6) == bytes(byte ^ 3 for byte in b"answer")
        receiver.close()
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}
        assert (rig.traffic.up, rig.traffic.down) == ((len(data), 6) if up else (6, len(data)))


def test_the_end_in_band_is_passed_on_and_the_wire_stays_open():
    with Layered() as rig:
        rig.open([Lines()])
        rig.client.sendall(b"question")
        rig.client.shutdown(socket.SHUT_WR)
        assert rig.received(rig.proxy, 9) == b"question."
        assert not readable(rig.proxy)
        rig.proxy.sendall(b"answer.")
        assert rig.received(rig.client, 6) == b"answer"
        rig.turn_until(lambda: readable(rig.client))
        assert rig.client.recv(1) == b""
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


@pytest.mark.parametrize("layers", [[Xor(0)], [Greeting(wanted=b"wel")]], ids=["none", "one step"])
def test_a_server_that_has_ended_already_when_the_handshake_is_over(layers):
    with Layered() as rig:
        ours, client = socket.socketpair()
        rig.keep(client)
        server = socket.socket()
        server.connect(rig.destination)
        server.setblocking(False)
        proxy, _ = rig.server.accept()
        proxy.sendall(b"welcome")
        proxy.shutdown(socket.SHUT_WR)
        rig.keep(proxy)
        traffic = rig.tracker.traffic("p", "tcp")
        rig.tracker.flow_opened(traffic)
        LayeredFlow(rig.context, ours, server, traffic, Stack(layers))
        results = []
        rig.in_thread(lambda: results.append(receive_all(client)))
        assert b"welcome".endswith(results[0])
        assert results[0]


def test_a_reset_after_the_servers_end_takes_nothing_from_the_client():
    piece = b"x" * 8192
    with Layered() as rig:
        flow = rig.open([Lines()])
        room = capacity(piece)
        for _ in range(room - 1):
            rig.proxy.sendall(piece)
            rig.turn(0.002)
        rig.proxy.sendall(7 * piece + b".")
        rig.turn_until(lambda: flow._down.eof)
        assert flow._down.backlog is not None
        rig.client.sendall(b"nobody reads this")
        rig.turn(0.01)
        rig.proxy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        rig.proxy.close()
        rig.turn(0.01)
        results = []
        rig.in_thread(lambda: results.append(receive_all(rig.client)))
        assert results == [(room + 6) * piece]
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


def capacity(piece):
    """How many pieces a pair of sockets holds."""
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        count = 0
        try:
            while one.send(piece) == len(piece):
                count += 1
        except BlockingIOError:
            pass
        return count


def test_blocked_layers_stop_the_client_and_a_window_lets_it_on():
    with Layered() as rig:
        rig.open([Windowed()])
        rig.client.sendall(b"held back")
        rig.turn(0.02)
        assert not readable(rig.proxy)
        rig.proxy.sendall(b"+")
        assert rig.received(rig.proxy, 9) == b"held back"


def test_a_window_that_opens_after_the_end_ends_nothing_twice():
    with Layered() as rig:
        rig.open([Windowed(), Lines()])
        rig.proxy.sendall(b"+begin")
        assert rig.received(rig.client, 5) == b"begin"
        rig.client.sendall(b"x")
        rig.client.shutdown(socket.SHUT_WR)
        assert rig.received(rig.proxy, 2) == b"x."
        rig.proxy.sendall(b"++late")
        assert rig.received(rig.client, 4) == b"late"
        rig.turn(0.02)
        assert not readable(rig.proxy)


def test_the_client_hears_that_the_way_is_open_and_its_early_bytes_leave():
    with Layered() as rig:
        rig.open([Greeting()], Words(b"pipelined"))
        assert rig.received(rig.proxy, 6) == b"hello\n"
        assert not readable(rig.client)
        rig.proxy.sendall(b"welcome\nbanner")
        assert rig.received(rig.client, 9) == b"OK\nbanner"
        assert rig.received(rig.proxy, 9) == b"pipelined"
        assert (rig.traffic.up, rig.traffic.down) == (9, 6)


def test_words_for_a_dial_that_fails():
    with Layered() as rig:
        closed = socket.create_server(("127.0.0.1", 0))
        address = closed.getsockname()
        closed.close()
        rig.open([Xor()], Words(), address)
        assert rig.received(rig.client, 32) == b"NO dial-refused\n"
        assert rig.tracker.errors == {"dial-refused": 1}
        assert rig.tracker.tcp_live == 0


@pytest.mark.parametrize(
    ("said", "cause"),
    [(b"go away", "toy-refused"), (b"", "handshake-closed"), (b"wel", "handshake-closed")],
)
def test_a_handshake_that_fails_has_a_named_cause(said, cause):
    with Layered() as rig:
        rig.open([Greeting()], Words())
        assert rig.received(rig.proxy, 6) == b"hello\n"
        if said:
            rig.proxy.sendall(said)
        rig.proxy.shutdown(socket.SHUT_WR)
        assert rig.received(rig.client, 64) == f"NO {cause}\n".encode()
        assert rig.tracker.errors == {cause: 1}


def test_without_words_a_failed_handshake_is_a_reset():
    with Layered() as rig:
        rig.destination = rig.server.getsockname()
        listener = socket.create_server(("127.0.0.1", 0))
        rig.keep(listener)
        client = rig.keep(socket.create_connection(listener.getsockname()))
        ours, _ = listener.accept()
        server = socket.socket()
        server.setblocking(False)
        server.connect_ex(rig.destination)
        traffic = rig.tracker.traffic("p", "tcp")
        rig.tracker.flow_opened(traffic)
        LayeredFlow(rig.context, ours, server, traffic, Stack([Greeting()]))
        rig.turn_until(lambda: readable(rig.server))
        proxy, _ = rig.server.accept()
        proxy.sendall(b"nonsense")
        rig.keep(proxy)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_a_stalled_handshake_ends():
    with Layered(timeouts=Timeouts(handshake=8.0)) as rig:
        rig.open([Greeting()], Words())
        assert rig.received(rig.proxy, 6) == b"hello\n"
        rig.later(7.0)
        assert rig.tracker.tcp_live == 1
        rig.later(2.0)
        assert rig.tracker.errors == {"handshake-timeout": 1}
        assert rig.received(rig.client, 64) == b"NO handshake-timeout\n"


def test_garbage_after_the_handshake_ends_the_flow_with_its_cause():
    with Layered() as rig:
        rig.open([Xor(), Greeting()])
        rig.received(rig.proxy, 6)
        rig.proxy.sendall(b"garbage")
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {"toy-refused": 1}


def test_a_slow_client_stops_the_server():
    with Layered() as rig:
        rig.open([Xor()])
        rig.received(rig.proxy, 0)
        rig.proxy.setblocking(False)
        sent = 0
        end = time.monotonic() + 10
        idle = 0
        while idle < 50 and time.monotonic() < end:
            try:
                sent += rig.proxy.send(bytes(65536))
                idle = 0
            except BlockingIOError:
                idle += 1
                rig.turn(0.002)
        assert idle == 50
        assert sent < 64 << 20
        rig.proxy.setblocking(True)
        rig.proxy.shutdown(socket.SHUT_WR)
        results = []
        rig.in_thread(lambda: results.append(len(receive_all(rig.client))))
        assert results == [sent]


def test_an_end_that_would_end_both_sides_waits_for_silence():
    class Final(Lines):
        ends_both = True

    with Layered() as rig:
        rig.open([Final()])
        rig.client.sendall(b"question")
        rig.client.shutdown(socket.SHUT_WR)
        assert rig.received(rig.proxy, 8) == b"question"
        rig.later(9.0)
        rig.proxy.sendall(b"late ")
        assert rig.received(rig.client, 5) == b"late "
        rig.later(9.0)
        assert not readable(rig.proxy)
        assert rig.tracker.tcp_live == 1
        rig.later(2.0)
        assert rig.received(rig.proxy, 2) == b"."
        assert rig.tracker.tcp_live == 0
        assert rig.tracker.errors == {}


class Wordless(Layer):
    """Cannot even begin."""

    def begin(self):
        raise LocalProtocolError("toy-wordless")


class Picky(Windowed):
    """Has a window, and a word it cannot say."""

    def seal(self, payload):
        if b"unspeakable" in bytes(payload):
            raise LocalProtocolError("toy-unspeakable")
        return super().seal(payload)


class Late(Layer):
    """Gets out of the way in the middle of a stream."""

    def feed(self, data):
        self.transparent = self.transparent or b"!" in bytes(data)
        return data


class Echoing(Layer):
    """Answers every feed, whatever our side said before."""

    def feed(self, data):
        self.output += b"pong"
        return data


@pytest.mark.parametrize("layers", [[], [Xor(0)]], ids=["plain", "layered"])
def test_an_end_that_came_with_the_first_bytes_is_not_lost(layers):
    with Layered() as rig:
        ours, rig.client = socket.socketpair()
        rig.keep(rig.client).settimeout(20)
        server = socket.create_connection(rig.destination)
        server.setblocking(False)
        proxy, _ = rig.server.accept()
        rig.keep(proxy).sendall(b"busy")
        proxy.shutdown(socket.SHUT_WR)
        rig.turn_until(lambda: readable(server))
        traffic = rig.tracker.traffic("p", "tcp")
        rig.tracker.flow_opened(traffic)
        LayeredFlow(rig.context, ours, server, traffic, Stack(layers), Words())
        assert rig.received(rig.client, 7) == b"OK\nbusy"
        rig.turn_until(lambda: readable(rig.client))
        assert rig.client.recv(1) == b""


def test_an_end_in_band_together_with_the_handshake_is_passed_on():
    with Layered() as rig:
        rig.open([Greeting(), Lines()])
        rig.received(rig.proxy, 6)
        rig.proxy.sendall(b"welcome\nbye.")
        assert rig.received(rig.client, 3) == b"bye"
        rig.turn_until(lambda: readable(rig.client))
        assert rig.client.recv(1) == b""
        rig.client.shutdown(socket.SHUT_WR)
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


def test_a_layer_that_cannot_begin_has_its_cause():
    with Layered() as rig:
        rig.open([Wordless()], Words())
        assert rig.received(rig.client, 64) == b"NO toy-wordless\n"
        assert rig.tracker.errors == {"toy-wordless": 1}
        assert rig.reactor.crashes == 0


def test_what_a_window_lets_on_and_cannot_be_said_has_its_cause():
    with Layered() as rig:
        rig.open([Picky()])
        rig.client.sendall(b"unspeakable")
        rig.turn(0.02)
        rig.proxy.sendall(b"+")
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {"toy-unspeakable": 1}
        assert rig.reactor.crashes == 0


def test_layers_that_leave_within_a_turn_take_nothing_along():
    with Layered() as rig:
        rig.open([Late()])
        rig.client.sendall(b"x")
        rig.received(rig.proxy, 1)
        rig.proxy.setblocking(False)
        chunks = iter([bytes(300_000)])
        sent = idle = 0
        while idle < 50:
            try:
                sent += rig.proxy.send(next(chunks, b"!" * 65536))
                idle = 0
            except BlockingIOError:
                idle += 1
                rig.turn(0.002)
        # One event for the relay: the client has room, and says its last.
        got = 0
        while readable(rig.client):
            got += len(rig.client.recv(1 << 20))
        rig.client.sendall(b"last words")
        rig.client.shutdown(socket.SHUT_WR)
        rig.turn()
        rig.proxy.setblocking(True)
        rig.proxy.shutdown(socket.SHUT_WR)
        results = []
        rig.in_thread(lambda: results.append(len(receive_all(rig.client))))
        assert got + results[0] == sent
        assert rig.received(rig.proxy, 10) == b"last words"
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}
        assert rig.traffic.up == 11


def test_what_layers_say_after_our_end_does_not_end_the_answer():
    with Layered() as rig:
        rig.open([Echoing()])
        rig.client.sendall(b"question")
        rig.client.shutdown(socket.SHUT_WR)
        assert rig.received(rig.proxy, 64) == b"question"
        rig.proxy.sendall(b"an")
        assert rig.received(rig.client, 2) == b"an"
        rig.proxy.sendall(b"swer")
        assert rig.received(rig.client, 4) == b"swer"
        rig.proxy.close()
        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
        assert rig.tracker.errors == {}


def test_layered_flows_leave_no_garbage():
    """However they end; a flow that reference counts free takes its layers along."""
    flows = []

    def remember(rig):
        handler = next(each for each in rig.reactor._table if isinstance(each, LayeredFlow))
        flows.append(weakref.ref(handler))

    with Layered() as rig:
        gc.collect()
        gc.disable()
        try:
            for said in (b"welcome\nx", b"garbage", b""):
                for answer in (None, Words(b"early")):
                    for layers in ([Greeting()], [Xor(0), Greeting()], [Greeting(), Lines()]):
                        rig.open(layers, answer)
                        remember(rig)
                        rig.received(rig.proxy, 6)
                        rig.proxy.sendall(said)
                        rig.turn(0.005)
                        rig.proxy.close()
                        rig.client.close()
                        rig.turn_until(lambda: rig.tracker.tcp_live == 0)
            rig.flow = None
            assert len(flows) == 18
            assert [ref for ref in flows if ref() is not None] == []
        finally:
            gc.enable()
