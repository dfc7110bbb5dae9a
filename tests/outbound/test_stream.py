"""A connection of our own: when its owner hears what, and that nothing is left of it."""

from __future__ import annotations

import errno
import gc
import socket
import weakref

import pytest
from support.dialing import Table
from support.layers import Greeting, Lines, Windowed, Xor
from support.loopback import RelayRig, readable
from support.proxies import accept, receive

from mihomo_tproxy.codec.layer import Layer
from mihomo_tproxy.errors import LocalProtocolError, RemoteProtocolError
from mihomo_tproxy.net.dial import Dialer
from mihomo_tproxy.net.reactor import Reactor
from mihomo_tproxy.outbound.base import Route
from mihomo_tproxy.outbound.stream import Stream


class Owner:
    """Writes down what it hears."""

    def __init__(self, on_payload=None):
        self.heard = []
        self._on_payload = on_payload

    def on_ready(self):
        self.heard.append("ready")

    def on_payload(self, data):
        self.heard.append(bytes(data))
        if self._on_payload is not None:
            self._on_payload()

    def on_end(self, cause):
        self.heard.append(f"end {cause}")


class Wordless(Layer):
    def begin(self):
        raise LocalProtocolError("toy-wordless")


class Chatty(Layer):
    """Answers each feed with a megabyte."""

    def feed(self, data):
        self.output += bytes(1 << 20)
        return b""


def made(rig, layers=(), owner=None, address=None, resolver=None):
    owner = owner or Owner()
    host, port = address or rig.destination
    route = Route(Dialer(rig.context, resolver or Table()), host, port, list(layers))
    return Stream(rig.context, route, owner), owner


def opened(rig, *args, **options):
    stream, owner = made(rig, *args, **options)
    stream.open()
    return stream, owner


def ended(rig, owner):
    rig.turn_until(lambda: str(owner.heard[-1:]).startswith("['end"))
    rig.turn()
    assert not any(isinstance(handler, Stream) for handler in rig.reactor._table)
    return owner.heard[-1]


def test_ready_then_payload_and_the_servers_end():
    with RelayRig() as rig:
        stream, owner = opened(rig, [Greeting(), Xor()])
        proxy = accept(rig)
        receive(rig, proxy, 6)
        assert (owner.heard, stream.ready) == ([], False)
        proxy.sendall(b"welcome\n" + bytes(byte ^ 0x55 for byte in b"hi"))
        rig.turn_until(lambda: len(owner.heard) == 2)
        assert owner.heard == ["ready", b"hi"]
        stream.send(b"U")
        assert receive(rig, proxy, 1) == b"\0"
        assert stream.peer == rig.destination
        proxy.close()
        assert ended(rig, owner) == "end "
        assert stream.peer == ("", 0)


def test_an_end_in_band():
    with RelayRig() as rig:
        _, owner = opened(rig, [Lines()])
        accept(rig).sendall(b"bye.")
        assert ended(rig, owner) == "end "
        assert owner.heard == ["ready", b"bye", "end "]


@pytest.mark.parametrize(
    ("layers", "said", "cause"),
    [
        ([Greeting()], b"garbage", "toy-refused"),
        ([Greeting()], b"", "toy-truncated"),
        ([Wordless()], None, "toy-wordless"),
    ],
)
def test_a_handshake_that_fails(layers, said, cause):
    with RelayRig() as rig:
        _, owner = opened(rig, layers)
        proxy = accept(rig)
        if said is not None:
            receive(rig, proxy, 6)
            proxy.sendall(said)
            proxy.shutdown(socket.SHUT_WR)
        assert ended(rig, owner) == f"end {cause}"
        assert owner.heard == [f"end {cause}"]


def test_a_dial_that_fails_is_told_before_open_returns_or_later():
    with RelayRig() as rig:
        _, nameless = opened(rig, address=("nobody", 1))
        assert nameless.heard == ["end dial-name"]
        with socket.create_server(("127.0.0.1", 0)) as closed:
            address = closed.getsockname()
        _, owner = opened(rig, address=address)
        assert ended(rig, owner) == "end dial-refused"


def test_a_socket_that_cannot_be_watched_is_closed(monkeypatch):
    def refuse(reactor, fd, handler, events):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    with RelayRig() as rig:
        monkeypatch.setattr(Reactor, "watch", refuse)
        _, owner = opened(rig)
        assert owner.heard == ["end dial-no-memory"]
        with rig.server.accept()[0] as server:
            assert server.recv(1) == b""


@pytest.mark.parametrize(
    ("layers", "cause"), [([Greeting()], "handshake-timeout"), ([], "dial-timeout")]
)
def test_who_does_not_answer_is_given_up(layers, cause):
    with RelayRig() as rig:
        stream, owner = opened(rig, layers)
        if layers:
            receive(rig, accept(rig), 6)
            stream.deadline -= 60
        else:
            stream.deadline -= 60  # before its first event
        rig.later(0)
        assert ended(rig, owner) == f"end {cause}"


def test_close_is_silent_whatever_is_under_way():
    class Slow:
        def resolve(self, host, done):
            self.done = done

    with RelayRig() as rig:
        slow = Slow()
        early, nobody = opened(rig, address=("name", rig.destination[1]), resolver=slow)
        early.close()
        slow.done(("127.0.0.1",))
        with rig.server.accept()[0] as server:
            assert server.recv(1) == b""
        late, other = opened(rig)
        proxy = accept(rig)
        rig.turn_until(lambda: other.heard == ["ready"])
        proxy.sendall(b"x")
        late.close()
        late.send(b"nowhere")
        late.on_again()
        rig.turn(0.01)
        assert (nobody.heard, other.heard) == ([], ["ready"])
        assert readable(proxy)


def test_an_owner_may_close_or_fail_within_its_payload():
    with RelayRig() as rig:
        owner = Owner(lambda: stream.close())
        stream, _ = opened(rig, [Lines()], owner)
        accept(rig).sendall(b"bye.")
        rig.turn_until(lambda: len(owner.heard) == 2)
        rig.turn(0.01)
        assert owner.heard == ["ready", b"bye"]

        def fail():
            raise RemoteProtocolError("toy-payload")

        failing = Owner(fail)
        opened(rig, [], failing)
        accept(rig).sendall(b"x")
        assert ended(rig, failing) == "end toy-payload"
        assert rig.reactor.crashes == 0


def test_room_is_what_the_window_and_the_server_leave():
    with RelayRig() as rig:
        shut, _ = opened(rig, [Windowed()])
        proxy = accept(rig)
        rig.turn_until(lambda: shut.ready)
        assert not shut.has_room
        proxy.sendall(b"+")
        rig.turn_until(lambda: shut.has_room)
        stream, owner = opened(rig)
        proxy = accept(rig)
        rig.turn_until(lambda: stream.ready)
        sent = 0
        while stream.has_room:
            stream.send(bytes(65536))
            sent += 65536
        assert sent < 64 << 20
        got = receive(rig, proxy, sent)
        assert len(got) == sent
        assert stream.has_room
        assert owner.heard == ["ready"]


def test_layers_that_talk_without_end_to_one_who_does_not_listen():
    with RelayRig() as rig:
        _, owner = opened(rig, [Chatty()])
        proxy = accept(rig)
        proxy.setblocking(False)
        while not owner.heard[1:]:
            try:
                proxy.send(b"x")
            except OSError:
                break
            rig.turn(0.001)
        assert ended(rig, owner) == "end control-flood"


def test_a_server_that_is_gone_is_told_by_the_send():
    with RelayRig() as rig:
        stream, owner = opened(rig)
        proxy = accept(rig)
        rig.turn_until(lambda: stream.ready)
        proxy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        proxy.close()
        stream.send(b"x")
        assert owner.heard == ["ready", "end stream-reset"]


def test_a_stream_leaves_no_garbage():
    with RelayRig() as rig:
        gc.collect()
        gc.disable()
        try:
            refs = []
            for said in (b"welcome\nx", b"garbage"):
                owner = Owner()
                layer = Greeting()
                opened(rig, [layer], owner)
                refs += [weakref.ref(layer), weakref.ref(owner)]
                proxy = accept(rig)
                receive(rig, proxy, 6)
                proxy.sendall(said)
                rig.turn_until(lambda heard=owner.heard: bool(heard))
                proxy.close()
                ended(rig, owner)
                del layer, owner
            assert [ref for ref in refs if ref() is not None] == []
        finally:
            gc.enable()
